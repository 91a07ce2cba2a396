//! A plot of a few curves over one quantity, and one of dots in named rows, as SVG, drawn by `plotters`. Text needs no font file: the viewer brings it.
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

const SIZE: (u32, u32) = (720, 420);
const FONT: &str = "system-ui, sans-serif";
const GREY: RGBColor = RGBColor(110, 120, 135);
const COLORS: [RGBColor; 10] = [
    RGBColor(37, 99, 235),
    RGBColor(234, 120, 20),
    RGBColor(22, 140, 90),
    RGBColor(200, 30, 60),
    RGBColor(130, 70, 200),
    RGBColor(90, 90, 90),
    RGBColor(0, 160, 200),
    RGBColor(160, 120, 0),
    RGBColor(240, 100, 170),
    RGBColor(120, 190, 60),
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

/// A row for each name, in it a dot for each that it was measured with.
#[derive(Clone, Debug)]
pub struct Dots<'a> {
    /// Above it.
    pub title: &'a str,
    /// Below the horizontal axis, which is logarithmic.
    pub x_name: String,
    /// From top to bottom.
    pub rows: Vec<&'a str>,
    /// Names, and their values by row, each above zero.
    pub series: Vec<(String, Vec<Option<f64>>)>,
}

impl Dots<'_> {
    /// The picture.
    ///
    /// # Errors
    /// When there is nothing to draw, or plotters cannot.
    pub fn svg(&self) -> Result<String, String> {
        let values = || self.series.iter().flat_map(|(_, values)| values.iter().flatten().copied());
        let (left, right) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        if right <= 0.0 {
            return Err(format!("{}: there is nothing to draw", self.title));
        }
        self.draw(left / 1.2, right * 1.2).map_err(|error| format!("{}: {error}", self.title))
    }

    fn draw(&self, left: f64, right: f64) -> Result<String, Box<dyn std::error::Error>> {
        const ROW_HEIGHT: u32 = 30;
        let mut svg = String::new();
        {
            let count = self.rows.len();
            // A name's place, counted from below.
            let y_of = |row: usize| (count - 1 - row) as f64;
            let size = (860, 120 + ROW_HEIGHT * count as u32);
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            area.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&area)
                .caption(self.title, (FONT, 16, &BLACK))
                .margin(12)
                .margin_right(150)
                .x_label_area_size(42)
                .y_label_area_size(170)
                .build_cartesian_2d((left..right).log_scale(), -0.5..count as f64 - 0.5)?;
            chart
                .configure_mesh()
                .x_desc(self.x_name.as_str())
                .x_label_formatter(&|value| rounded(*value))
                .y_labels(0)
                .disable_y_mesh()
                .light_line_style(GREY.mix(0.08))
                .bold_line_style(GREY.mix(0.25))
                .label_style((FONT, 12, &GREY))
                .draw()?;
            for (row, name) in self.rows.iter().enumerate() {
                let y = y_of(row);
                chart.draw_series([PathElement::new([(left, y), (right, y)], GREY.mix(0.25))])?;
                let (_, pixel) = chart.backend_coord(&(left, y));
                area.draw(&Text::new((*name).to_owned(), (12, pixel - 7), (FONT, 12).into_font()))?;
            }
            for ((at, (name, values)), color) in self.series.iter().enumerate().zip(COLORS.iter().cycle()) {
                let points = values.iter().enumerate().filter_map(|(row, value)| Some(((*value)?, y_of(row))));
                chart.draw_series(points.map(|point| Circle::new(point, 5, color.filled())))?;
                let (x, y) = (size.0 as i32 - 140, 44 + 20 * at as i32);
                area.draw(&Circle::new((x, y), 5, color.filled()))?;
                area.draw(&Text::new(name.clone(), (x + 12, y - 6), (FONT, 12).into_font()))?;
            }
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

    #[test]
    fn dots_and_names_are_in_the_picture() {
        let series =
            vec![("ours".to_owned(), vec![Some(1.0), None]), ("theirs".to_owned(), vec![Some(2.0), Some(0.5)])];
        let mut dots = Dots { title: "t", x_name: "times".to_owned(), rows: vec!["echo", "rooms"], series };
        let svg = dots.svg().unwrap();
        assert!(["ours", "theirs", "echo", "rooms"].iter().all(|name| svg.contains(name)));
        // Three values, and a dot beside each name.
        assert_eq!(svg.matches("<circle").count(), 5);
        dots.series.clear();
        assert!(dots.svg().is_err());
    }
}
