//! What a person sees while a run goes on: a live screen, or one line per second.
//!
//! The screen takes the lower part of the terminal and leaves what is above it alone; the last picture stays. It is drawn
//! once per second, so that watching costs nothing.

use crate::plan::Phase;
use crate::report::outcome::SecondOutcome;
use crate::report::text::{bytes, grouped, millis, rate};
use crate::run::Observer;
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Gauge, Paragraph, Sparkline};
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};
use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};

const SCREEN_LINES: u16 = 16;
const HISTORY: usize = 120;
const LOG_LINES: usize = 3;

/// The screen if standard error is a terminal and `plain` is not asked for; otherwise lines.
pub fn choose(plain: bool) -> Box<dyn Observer> {
    let stderr = io::stderr();
    if plain || !stderr.is_terminal() {
        return Box::new(Lines);
    }
    let options = TerminalOptions { viewport: Viewport::Inline(SCREEN_LINES) };
    match Terminal::with_options(CrosstermBackend::new(stderr), options) {
        Ok(terminal) => Box::new(Screen { terminal, state: State::default() }),
        Err(_) => Box::new(Lines),
    }
}

/// A line for each second, phase and remark, on standard error: for logs, pipes and CI.
#[derive(Debug, Default)]
pub struct Lines;

impl Lines {
    fn line(&mut self, text: &str) {
        // Whoever reads it may be gone; the run goes on.
        let _ = writeln!(io::stderr(), "{text}");
    }
}

impl Observer for Lines {
    fn growing(&mut self, clients: u32) {
        self.line(&format!("connecting {} clients", grouped(u64::from(clients))));
    }

    fn phase(&mut self, phase: &Phase) {
        self.line(&format!("phase {}", describe(phase)));
    }

    fn second(&mut self, second: &SecondOutcome) {
        self.line(&line_of(second));
    }

    fn say(&mut self, text: &str) {
        self.line(text);
    }
}

fn describe(phase: &Phase) -> String {
    let measured = if phase.measured { "" } else { ", not measured" };
    let (seconds, rate) = (phase.duration_ms as f64 / 1e3, phase.rate_end);
    format!("{}: {} clients, {rate:.0}/s, {seconds} s{measured}", phase.name, grouped(u64::from(phase.clients)))
}

/// A second as one line.
fn line_of(second: &SecondOutcome) -> String {
    let mut line = format!(
        "{:>5} s  {:>8} clients  {:>9} sent  {:>9} received",
        second.second,
        grouped(u64::from(second.ready)),
        grouped(second.sent),
        grouped(second.received)
    );
    if let (Some(p50), Some(p99)) = (second.p50, second.p99) {
        line.push_str(&format!("  p50 {:>8}  p99 {:>8}", millis(p50), millis(p99)));
    }
    if let Some(cpu) = second.server_cpu {
        line.push_str(&format!("  server {cpu:>3.0} %"));
    }
    if let Some(rss) = second.server_rss {
        line.push_str(&format!(" {}", bytes(rss)));
    }
    if second.failed + second.faults > 0 {
        line.push_str(&format!("  {} failed, {} faults", second.failed, second.faults));
    }
    line
}

/// The live screen.
#[derive(Debug)]
struct Screen<B: Backend + Write> {
    terminal: Terminal<B>,
    state: State,
}

/// What is shown.
#[derive(Debug, Default)]
struct State {
    /// So many clients are being connected; until the next phase begins.
    growing: Option<u32>,
    phase: Option<Phase>,
    /// Seconds since the phase began.
    phase_seconds: u64,
    second: SecondOutcome,
    received: VecDeque<u64>,
    p99_us: VecDeque<u64>,
    failed: u64,
    faults: u64,
    log: VecDeque<String>,
}

impl<B: Backend + Write> Screen<B> {
    fn show(&mut self) {
        let state = &self.state;
        // A terminal that is gone must not end the run.
        let _ = self.terminal.draw(|frame| draw(frame, state));
    }
}

impl<B: Backend + Write> Observer for Screen<B> {
    fn growing(&mut self, clients: u32) {
        self.state.growing = Some(clients);
        self.show();
    }

    fn phase(&mut self, phase: &Phase) {
        self.state.growing = None;
        self.state.phase = Some(phase.clone());
        self.state.phase_seconds = 0;
        self.show();
    }

    fn second(&mut self, second: &SecondOutcome) {
        self.state.take(second);
        self.show();
    }

    fn say(&mut self, text: &str) {
        self.state.log.push_back(text.to_owned());
        if self.state.log.len() > LOG_LINES {
            self.state.log.pop_front();
        }
        self.show();
    }
}

impl<B: Backend + Write> Drop for Screen<B> {
    fn drop(&mut self) {
        // The cursor goes below the last picture.
        let _ = self.terminal.show_cursor();
        let _ = writeln!(io::stderr());
    }
}

impl State {
    fn take(&mut self, second: &SecondOutcome) {
        self.second = second.clone();
        self.phase_seconds += 1;
        self.failed += second.failed;
        self.faults += second.faults;
        for (history, value) in
            [(&mut self.received, second.received), (&mut self.p99_us, (second.p99.unwrap_or(0.0) * 1e3) as u64)]
        {
            history.push_back(value);
            if history.len() > HISTORY {
                history.pop_front();
            }
        }
    }
}

fn draw(frame: &mut Frame<'_>, state: &State) {
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(5),
        Constraint::Length(5),
        Constraint::Length(LOG_LINES as u16),
    ]);
    let [title, progress, figures, charts, log] = areas.areas(frame.area());
    let (text, done) = match (state.growing, &state.phase) {
        (Some(clients), _) => (
            format!("connecting {} clients", grouped(u64::from(clients))),
            f64::from(state.second.ready) / f64::from(clients.max(1)),
        ),
        (None, Some(phase)) => (describe(phase), 1e3 * state.phase_seconds as f64 / phase.duration_ms.max(1) as f64),
        (None, None) => ("starting".to_owned(), 0.0),
    };
    frame.render_widget(Paragraph::new(text).bold(), title);
    let gauge = Gauge::default().gauge_style(Style::new().fg(Color::Blue)).ratio(done.clamp(0.0, 1.0));
    frame.render_widget(gauge, progress);
    draw_figures(frame, state, figures);
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(charts);
    draw_history(frame, "delivered per second", &state.received, |top| rate(top as f64), Color::Green, left);
    draw_history(frame, "p99 latency", &state.p99_us, |top| millis(top as f64 / 1e3), Color::Yellow, right);
    let lines: Vec<Line<'_>> = state.log.iter().map(|text| Line::raw(text.as_str()).dim()).collect();
    frame.render_widget(Paragraph::new(lines), log);
}

fn draw_figures(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let second = &state.second;
    let optional = |value: Option<f64>| value.map_or("-".to_owned(), millis);
    let wrong = |count: u64| if count > 0 { Color::Red } else { Color::Reset };
    let columns = [
        vec![
            ("clients", grouped(u64::from(second.ready)), Color::Reset),
            ("connected/s", grouped(second.connected), Color::Reset),
            ("sent/s", rate(second.sent as f64), Color::Reset),
        ],
        vec![
            ("p50", optional(second.p50), Color::Reset),
            ("p99", optional(second.p99), Color::Yellow),
            ("max", optional(second.max), Color::Reset),
        ],
        vec![
            ("server CPU", second.server_cpu.map_or("-".to_owned(), |cpu| format!("{cpu:.0} %")), Color::Reset),
            ("server memory", second.server_rss.map_or("-".to_owned(), bytes), Color::Reset),
            ("own CPU", format!("{:.0} %", second.generator_cpu), wrong(u64::from(second.generator_cpu > 90.0))),
        ],
        vec![
            ("delivered/s", rate(second.received as f64), Color::Green),
            ("failures", grouped(state.failed), wrong(state.failed)),
            ("faults", grouped(state.faults), wrong(state.faults)),
        ],
    ];
    let areas = Layout::horizontal([Constraint::Fill(1); 4]).split(area);
    for (column, area) in columns.into_iter().zip(areas.iter()) {
        let lines: Vec<Line<'_>> = column
            .into_iter()
            .map(|(name, value, color)| {
                Line::from(vec![Span::raw(format!("{name:<14}")).dim(), Span::raw(value).fg(color)])
            })
            .collect();
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().dim()), *area);
    }
}

/// The title says what the greatest column stands for.
fn draw_history(
    frame: &mut Frame<'_>,
    title: &str,
    history: &VecDeque<u64>,
    describe_top: fn(u64) -> String,
    color: Color,
    area: Rect,
) {
    let width = usize::from(area.width.saturating_sub(2));
    let values: Vec<u64> = history.iter().copied().skip(history.len().saturating_sub(width)).collect();
    let top = values.iter().max().copied().unwrap_or(0);
    let title = if top > 0 { format!("{title}, up to {}", describe_top(top)) } else { title.to_owned() };
    let block = Block::bordered().title(title).dim();
    frame.render_widget(Sparkline::default().block(block).data(&values).style(Style::new().fg(color)), area);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ratatui::backend::TestBackend;

    fn second() -> SecondOutcome {
        SecondOutcome {
            second: 12,
            ready: 1500,
            sent: 3000,
            received: 30_000,
            p50: Some(1.25),
            p99: Some(20.0),
            server_cpu: Some(87.0),
            server_rss: Some(90_000_000),
            failed: 2,
            ..SecondOutcome::default()
        }
    }

    #[test]
    fn a_line_says_what_counts() {
        let line = line_of(&second());
        for word in ["12 s", "1,500 clients", "30,000 received", "p99  20.0 ms", "server  87 %", "90 MB", "2 failed"] {
            assert!(line.contains(word), "{word}: {line}");
        }
    }

    #[test]
    fn the_screen_shows_phase_figures_and_remarks() {
        let mut state = State { phase: Some(Phase::new("rush", 10_000, 50.0, 1500)), ..State::default() };
        state.take(&second());
        state.log.push_back("a remark".to_owned());
        let mut terminal = Terminal::new(TestBackend::new(100, SCREEN_LINES)).unwrap();
        terminal.draw(|frame| draw(frame, &state)).unwrap();
        let text = terminal.backend().to_string();
        for word in
            ["rush: 1,500 clients", "10%", "20.0 ms", "87 %", "30,000", "a remark", "p99 latency, up to 20.0 ms"]
        {
            assert!(text.contains(word), "{word}:\n{text}");
        }
        state.growing = Some(3_000);
        terminal.draw(|frame| draw(frame, &state)).unwrap();
        let text = terminal.backend().to_string();
        assert!(text.contains("connecting 3,000 clients") && text.contains("50%"), "{text}");
    }
}
