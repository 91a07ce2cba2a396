//! Text with places that are filled in for every message.
//!
//! | place | what stands there |
//! |---|---|
//! | `{{stamp}}` | the block by which the message is recognised and checked |
//! | `{{bytes}}` | an attachment that holds the block; the JSON gets its placeholder |
//! | `{{client}}` | index of the client, from 0 |
//! | `{{group}}` | index of the client's group, from 0 |
//! | `{{sequence}}` | number of the message of this client and action, from 0 |
//! | `{{random:1..100}}` | an integer at random, both ends included |

use std::io::Write;

/// What fills the places.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'a> {
    /// Of `{{client}}`.
    pub client: u32,
    /// Of `{{group}}`.
    pub group: u32,
    /// Of `{{sequence}}`.
    pub sequence: u32,
    /// Of `{{stamp}}`.
    pub block: &'a [u8],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Stamp,
    Bytes,
    Client,
    Group,
    Sequence,
    Random(i64, i64),
}

/// A parsed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// Parses a text.
    ///
    /// # Errors
    /// A sentence that names the place which is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            let end = rest[start..].find("}}").ok_or_else(|| format!("`{{{{` without `}}}}` in {text:?}"))? + start;
            if start > 0 {
                parts.push(Part::Text(rest[..start].to_owned()));
            }
            parts.push(parse_place(rest[start + 2..end].trim())?);
            rest = &rest[end + 2..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if parts.iter().filter(|part| matches!(part, Part::Stamp | Part::Bytes)).count() > 1 {
            return Err(format!("more than one {{{{stamp}}}} or {{{{bytes}}}} in {text:?}"));
        }
        Ok(Self { parts })
    }

    /// Whether the block is an attachment.
    pub fn has_bytes(&self) -> bool {
        self.parts.contains(&Part::Bytes)
    }

    /// Whether the block is in it, as text or as attachment.
    pub fn has_block(&self) -> bool {
        self.has_bytes() || self.parts.contains(&Part::Stamp)
    }

    /// Appends the text with its places filled.
    pub fn write(&self, out: &mut Vec<u8>, values: &Values<'_>) {
        for part in &self.parts {
            // Writing to memory cannot fail.
            let _ = match part {
                Part::Text(text) => out.write_all(text.as_bytes()),
                Part::Stamp => out.write_all(values.block),
                Part::Bytes => {
                    ringio_codec::socketio::attachment::write_placeholder(out, 0);
                    Ok(())
                }
                Part::Client => write!(out, "{}", values.client),
                Part::Group => write!(out, "{}", values.group),
                Part::Sequence => write!(out, "{}", values.sequence),
                Part::Random(low, high) => write!(out, "{}", fastrand::i64(*low..=*high)),
            };
        }
    }

    /// The text with its places filled, of a text that began as one.
    pub fn text(&self, values: &Values<'_>) -> String {
        let mut out = Vec::new();
        self.write(&mut out, values);
        String::from_utf8_lossy(&out).into_owned()
    }
}

fn parse_place(name: &str) -> Result<Part, String> {
    Ok(match name {
        "stamp" => Part::Stamp,
        "bytes" => Part::Bytes,
        "client" => Part::Client,
        "group" => Part::Group,
        "sequence" => Part::Sequence,
        _ => {
            let range = name.strip_prefix("random:").and_then(|range| range.split_once(".."));
            let bounds = range.and_then(|(low, high)| Some((low.trim().parse().ok()?, high.trim().parse().ok()?)));
            match bounds {
                Some((low, high)) if low <= high => Part::Random(low, high),
                _ => {
                    return Err(format!(
                        "{{{{{name}}}}} is unknown: there are stamp, bytes, client, group, sequence and random:LOW..HIGH"
                    ));
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_filled() {
        let template = Template::parse(r#""r{{group}}",{"c":{{ client }},"n":{{sequence}}},"{{stamp}}""#).unwrap();
        let values = Values { client: 7, group: 3, sequence: 9, block: b"@x" };
        assert_eq!(template.text(&values), r#""r3",{"c":7,"n":9},"@x""#);
        assert!(template.has_block() && !template.has_bytes());
    }

    #[test]
    fn attachments_leave_a_placeholder() {
        let template = Template::parse("{{bytes}}").unwrap();
        assert_eq!(template.text(&Values::default()), r#"{"_placeholder":true,"num":0}"#);
        assert!(template.has_bytes());
    }

    #[test]
    fn random_stays_in_its_bounds() {
        let template = Template::parse("{{random:-2..2}}").unwrap();
        for _ in 0..200 {
            let number: i64 = template.text(&Values::default()).parse().unwrap();
            assert!((-2..=2).contains(&number));
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert!(Template::parse("{{nmae}}").unwrap_err().contains("nmae"));
        assert!(Template::parse("{{random:9..1}}").unwrap_err().contains("random"));
        assert!(Template::parse("{{stamp").unwrap_err().contains("without"));
        assert!(Template::parse("{{stamp}}{{bytes}}").unwrap_err().contains("more than one"));
    }
}
