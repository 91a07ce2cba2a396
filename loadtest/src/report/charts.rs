//! The charts of the report, as SVG text, drawn by `plotters`.
//!
//! All have the same size and colours. Text needs no font file: the browser brings it.

use super::outcome::{Outcome, SecondOutcome};
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use std::ops::Range;

const SIZE: (u32, u32) = (560, 250);
const FONT: &str = "system-ui, sans-serif";
const BLUE: RGBColor = RGBColor(37, 99, 235);
const ORANGE: RGBColor = RGBColor(234, 120, 20);
const RED: RGBColor = RGBColor(200, 30, 60);
const GREEN: RGBColor = RGBColor(22, 140, 90);
const GREY: RGBColor = RGBColor(120, 130, 145);
/// The least latency on a logarithmic axis. Milliseconds.
const LATENCY_MS_MIN: f64 = 0.01;

/// Room above the curves.
const HEADROOM: f64 = 1.08;
const HEADROOM_LOGARITHMIC: f64 = 2.0;

/// A drawn chart.
pub struct Chart {
    /// The picture.
    pub svg: String,
    /// Names and colours (as CSS has them) of its curves; whoever shows it puts them beside it, where they hide nothing.
    pub legend: Vec<(&'static str, String)>,
}

/// One curve: its name, colour and points.
struct Curve {
    name: &'static str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

impl Curve {
    fn of(
        name: &'static str,
        color: RGBColor,
        series: &[SecondOutcome],
        value: impl Fn(&SecondOutcome) -> Option<f64>,
    ) -> Self {
        let points = series.iter().filter_map(|second| Some((second.second as f64, value(second)?))).collect();
        Self { name, color, points }
    }

    fn max(curves: &[Self]) -> f64 {
        curves.iter().flat_map(|curve| &curve.points).map(|point| point.1).fold(0.0, f64::max)
    }
}

/// Where the measured seconds lie, to be shaded: first and behind last.
fn measured_ranges(series: &[SecondOutcome]) -> Vec<(f64, f64)> {
    let mut ranges: Vec<(f64, f64)> = Vec::new();
    for second in series.iter().filter(|second| second.measured) {
        let at = second.second as f64;
        match ranges.last_mut() {
            Some(range) if (range.1 - at).abs() < 0.5 => range.1 = at + 1.0,
            _ => ranges.push((at, at + 1.0)),
        }
    }
    ranges
}

/// Latency by second: median, 99th percentile, greatest. Logarithmic.
pub fn latency_over_time(outcome: &Outcome) -> Result<Chart, String> {
    let series = &outcome.series;
    let floor = |value: Option<f64>| value.map(|value| value.max(LATENCY_MS_MIN));
    let curves = [
        Curve::of("max", GREY, series, |second| floor(second.max)),
        Curve::of("p99", ORANGE, series, |second| floor(second.p99)),
        Curve::of("p50", BLUE, series, |second| floor(second.p50)),
    ];
    let top = (Curve::max(&curves) * HEADROOM_LOGARITHMIC).max(1.0);
    draw(
        seconds(series),
        (LATENCY_MS_MIN..top).log_scale(),
        "seconds",
        "ms",
        &curves,
        &measured_ranges(series),
        (LATENCY_MS_MIN, top),
    )
}

/// Messages by second: sent and delivered.
pub fn rate_over_time(outcome: &Outcome) -> Result<Chart, String> {
    let series = &outcome.series;
    let curves = [
        Curve::of("delivered/s", GREEN, series, |second| Some(second.received as f64)),
        Curve::of("sent/s", BLUE, series, |second| Some(second.sent as f64)),
        Curve::of("failures and faults/s", RED, series, |second| Some((second.failed + second.faults) as f64)),
    ];
    linear(series, "per second", &curves)
}

/// Clients by second, and how many came.
pub fn clients_over_time(outcome: &Outcome) -> Result<Chart, String> {
    let series = &outcome.series;
    let curves = [
        Curve::of("clients", BLUE, series, |second| Some(f64::from(second.ready))),
        Curve::of("connected/s", GREEN, series, |second| Some(second.connected as f64)),
    ];
    linear(series, "clients", &curves)
}

/// CPU of the server and of the load generator by second.
pub fn cpu_over_time(outcome: &Outcome) -> Result<Chart, String> {
    let series = &outcome.series;
    let curves = [
        Curve::of("server", RED, series, |second| second.server_cpu),
        Curve::of("load generator", GREY, series, |second| Some(second.generator_cpu)),
    ];
    linear(series, "% of a core", &curves)
}

/// The server's memory by second.
pub fn memory_over_time(outcome: &Outcome) -> Result<Chart, String> {
    let series = &outcome.series;
    let curves = [Curve::of("resident memory", BLUE, series, |second| Some(second.server_rss? as f64 / 1e6))];
    linear(series, "MB", &curves)
}

/// Latency by percentile: the further right, the rarer. 1 is 90 %, 2 is 99 %, 3 is 99.9 %.
pub fn distribution(outcome: &Outcome) -> Result<Chart, String> {
    let points: Vec<(f64, f64)> = outcome
        .total
        .distribution
        .iter()
        .filter(|(_, share)| *share < 1.0)
        .map(|(ms, share)| (-(1.0 - share).log10(), ms.max(LATENCY_MS_MIN)))
        .collect();
    let right = points.last().map_or(1.0, |point| point.0).max(1.0);
    let curves = [Curve { name: "latency", color: BLUE, points }];
    let top = (Curve::max(&curves) * HEADROOM_LOGARITHMIC).max(1.0);
    let label = "nines: 1 is 90 %, 2 is 99 %, 3 is 99.9 %";
    draw(0.0..right, (LATENCY_MS_MIN..top).log_scale(), label, "ms", &curves, &[], (LATENCY_MS_MIN, top))
}

/// Latency by number of clients, over the steps of a search.
pub fn latency_over_clients(outcome: &Outcome) -> Result<Chart, String> {
    let was_repeated = |verdict: &Option<String>| verdict.as_deref().is_some_and(|text| text.starts_with("repeated"));
    let mut phases: Vec<_> = outcome
        .phases
        .iter()
        .filter(|phase| phase.measured && phase.latency.count > 0 && !was_repeated(&phase.verdict))
        .collect();
    phases.sort_by_key(|phase| phase.clients);
    let points = |figure: fn(&super::outcome::Percentiles) -> f64| {
        phases.iter().map(|phase| (f64::from(phase.clients), figure(&phase.latency).max(LATENCY_MS_MIN))).collect()
    };
    let curves = [
        Curve { name: "p99", color: ORANGE, points: points(|latency| latency.p99) },
        Curve { name: "p50", color: BLUE, points: points(|latency| latency.p50) },
    ];
    let top = (Curve::max(&curves) * HEADROOM_LOGARITHMIC).max(1.0);
    let right = phases.last().map_or(1.0, |phase| f64::from(phase.clients)) * 1.03;
    draw(0.0..right, (LATENCY_MS_MIN..top).log_scale(), "clients", "ms", &curves, &[], (LATENCY_MS_MIN, top))
}

fn seconds(series: &[SecondOutcome]) -> Range<f64> {
    0.0..series.last().map_or(1.0, |second| second.second as f64 + 1.0)
}

fn linear(series: &[SecondOutcome], unit: &str, curves: &[Curve]) -> Result<Chart, String> {
    let top = (Curve::max(curves) * HEADROOM).max(1.0);
    draw(seconds(series), 0.0..top, "seconds", unit, curves, &measured_ranges(series), (0.0, top))
}

fn draw<Y>(
    x: Range<f64>,
    y: Y,
    x_name: &str,
    y_name: &str,
    curves: &[Curve],
    shaded: &[(f64, f64)],
    (bottom, top): (f64, f64),
) -> Result<Chart, String>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let failed = |error: &dyn std::fmt::Display| format!("the chart cannot be drawn: {error}");
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(58)
            .build_cartesian_2d(x, y)
            .map_err(|error| failed(&error))?;
        let shades =
            shaded.iter().map(|(from, to)| Rectangle::new([(*from, bottom), (*to, top)], BLUE.mix(0.06).filled()));
        chart.draw_series(shades).map_err(|error| failed(&error))?;
        chart
            .configure_mesh()
            .x_desc(x_name)
            .y_desc(y_name)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .light_line_style(GREY.mix(0.08))
            .bold_line_style(GREY.mix(0.25))
            .axis_style(GREY)
            .label_style((FONT, 12, &GREY))
            .axis_desc_style((FONT, 12, &GREY))
            .draw()
            .map_err(|error| failed(&error))?;
        for curve in curves {
            let color = curve.color;
            let line = LineSeries::new(curve.points.iter().copied(), color.stroke_width(2)).point_size(2);
            chart.draw_series(line).map_err(|error| failed(&error))?;
        }
        area.present().map_err(|error| failed(&error))?;
    }
    let css = |color: RGBColor| format!("rgb({}, {}, {})", color.0, color.1, color.2);
    Ok(Chart { svg, legend: curves.iter().map(|curve| (curve.name, css(curve.color))).collect() })
}

/// A number as short as an axis wants it.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", trimmed(value / 1e6)),
        value if value >= 1e4 => format!("{}k", trimmed(value / 1e3)),
        value => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_short() {
        let texts: Vec<String> = [0.05, 0.1, 10.0, 9_500.0, 20_000.0, 1_500_000.0].map(short).into();
        assert_eq!(texts, ["0.05", "0.1", "10", "9500", "20k", "1.5M"]);
    }
}
