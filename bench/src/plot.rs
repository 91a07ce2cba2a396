//! A plot of a few curves over one quantity, as SVG, drawn by `plotters`. Text needs no font file: the viewer brings it.
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

const SIZE: (u32, u32) = (720, 420);
const FONT: &str = "system-ui, sans-serif";
const GREY: RGBColor = RGBColor(110, 120, 135);
const COLORS: [RGBColor; 6] = [
    RGBColor(37, 99, 235),
    RGBColor(234, 120, 20),
    RGBColor(22, 140, 90),
    RGBColor(200, 30, 60),
    RGBColor(130, 70, 200),
    RGBColor(90, 90, 90),
];

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Plot<'a> {
    /// Above it.
    pub title: &'a str,
    /// Below the horizontal axis, which is logarithmic.
    pub x_name: &'a str,
    /// Beside the vertical axis, which begins at zero.
    pub y_name: &'a str,
    /// Names and points, in the order of the horizontal axis. Points at or left of zero are left out.
    pub curves: Vec<(String, Vec<(f64, f64)>)>,
}

impl Plot<'_> {
    /// The picture.
    ///
    /// # Errors
    /// When there is nothing to draw, or plotters cannot.
    pub fn svg(&self) -> Result<String, String> {
        let points = || self.curves.iter().flat_map(|(_, points)| points).filter(|point| point.0 > 0.0);
        let left = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
        let right = points().map(|point| point.0).fold(0.0, f64::max);
        let top = points().map(|point| point.1).fold(0.0, f64::max);
        if right <= 0.0 || top <= 0.0 {
            return Err(format!("{}: there is nothing to draw", self.title));
        }
        // One point alone has no width.
        self.draw((left / 1.2..right * 1.2).log_scale(), 0.0..top * 1.1)
            .map_err(|error| format!("{}: {error}", self.title))
    }

    fn draw<X>(&self, x: X, y: std::ops::Range<f64>) -> Result<String, Box<dyn std::error::Error>>
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            area.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&area)
                .caption(self.title, (FONT, 16, &BLACK))
                .margin(12)
                .x_label_area_size(42)
                .y_label_area_size(64)
                .build_cartesian_2d(x, y)?;
            chart
                .configure_mesh()
                .x_desc(self.x_name)
                .y_desc(self.y_name)
                .x_label_formatter(&|value| rounded(*value))
                .y_label_formatter(&|value| rounded(*value))
                .light_line_style(GREY.mix(0.08))
                .bold_line_style(GREY.mix(0.25))
                .label_style((FONT, 12, &GREY))
                .draw()?;
            for ((name, points), color) in self.curves.iter().zip(COLORS.iter().cycle()) {
                let points = points.iter().copied().filter(|point| point.0 > 0.0);
                chart
                    .draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(3))?
                    .label(name)
                    .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.8))
                .label_font((FONT, 12, &BLACK))
                .draw()?;
            area.present()?;
        }
        Ok(svg)
    }
}

fn rounded(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        // Ticks of an axis: the twelfth digit is the floating point's.
        _ => format!("{}", (value * 1e6).round() / 1e6),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn curves_and_names_are_in_the_picture() {
        let curves = vec![("ours".to_owned(), vec![(0.0, 1.0), (10.0, 2.0), (1e6, 3.0)])];
        let mut plot = Plot { title: "t", x_name: "rooms", y_name: "ns", curves };
        let svg = plot.svg().unwrap();
        assert!(svg.contains("ours") && svg.contains("rooms") && svg.contains("polyline"));
        plot.curves.clear();
        assert!(plot.svg().is_err());
    }
}
