//! Values of a scenario file that are written for people: durations, pauses, and arguments that become JSON.

use crate::plan::{DURATION_MS_MAX, Think};
use serde::Deserialize;

/// `"5s"` (the mean of an exponential distribution), or which distribution.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a pause is as in \"5s\", { fixed = \"5s\" }, { uniform = [\"2s\", \"8s\"] } or { exponential = \"5s\" }"
)]
pub(super) enum ThinkValue {
    Mean(String),
    Table(ThinkTable),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ThinkTable {
    Fixed(String),
    Uniform(String, String),
    Exponential(String),
}

/// The distribution that is meant.
pub(super) fn think_of(value: &ThinkValue) -> Result<Think, String> {
    let millis = |text: &String| match duration_ms(text)? {
        0 => Err(format!("{text:?} is too short a pause: at least 1ms")),
        ms => Ok(ms),
    };
    match value {
        ThinkValue::Mean(mean) | ThinkValue::Table(ThinkTable::Exponential(mean)) => {
            Ok(Think::Exponential(millis(mean)?))
        }
        ThinkValue::Table(ThinkTable::Fixed(pause)) => Ok(Think::Fixed(millis(pause)?)),
        ThinkValue::Table(ThinkTable::Uniform(from, to)) => {
            let (from_ms, to_ms) = (millis(from)?, millis(to)?);
            if from_ms <= to_ms {
                Ok(Think::Uniform(from_ms, to_ms))
            } else {
                Err(format!("{from} is longer than {to}"))
            }
        }
    }
}

/// The arguments as JSON, separated by commas. A string that is nothing but `{{bytes}}`, `{{client}}` or another place
/// for a number becomes that value, without quotes.
pub(super) fn arguments(values: &[toml::Value]) -> String {
    values.iter().map(json_of).collect::<Vec<_>>().join(",")
}

/// A value as JSON.
pub(super) fn json_of(value: &toml::Value) -> String {
    let list = |items: Vec<String>, open: char, close: char| format!("{open}{}{close}", items.join(","));
    match value {
        toml::Value::String(text) => {
            let is_place = text.starts_with("{{") && text.ends_with("}}") && text.matches("{{").count() == 1;
            if is_place && !text.contains("stamp") {
                text.clone()
            } else {
                serde_json::Value::from(text.as_str()).to_string()
            }
        }
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => serde_json::Value::from(*number).to_string(),
        toml::Value::Boolean(value) => value.to_string(),
        toml::Value::Datetime(time) => serde_json::Value::from(time.to_string()).to_string(),
        toml::Value::Array(items) => list(items.iter().map(json_of).collect(), '[', ']'),
        toml::Value::Table(table) => {
            let member = |(name, value): (&String, &toml::Value)| {
                format!("{}:{}", serde_json::Value::from(name.as_str()), json_of(value))
            };
            list(table.iter().map(member).collect(), '{', '}')
        }
    }
}

/// `500ms`, `30s`, `2m`.
pub(super) fn duration_ms(text: &str) -> Result<u64, String> {
    let end = text.find(|character: char| !(character.is_ascii_digit() || character == '.')).unwrap_or(text.len());
    let factor = match text[end..].trim() {
        "ms" => 1.0,
        "s" => 1e3,
        "m" | "min" => 60e3,
        _ => return Err(format!("{text:?} is no duration: write 500ms, 30s or 2m")),
    };
    let number: f64 = text[..end].parse().map_err(|_| format!("{text:?} is no duration: write 500ms, 30s or 2m"))?;
    let ms = (number * factor) as u64;
    if ms > DURATION_MS_MAX {
        return Err(format!("{text:?} is longer than {} s, the longest time", DURATION_MS_MAX / 1_000));
    }
    Ok(ms)
}
