//! A scenario of one's own, in a TOML file.
//!
//! ```toml
//! name = "chat"
//!
//! [clients]
//! count = 200
//! group_size = 10                      # who hears whom; `{{group}}` is the number of the group
//!
//! [[setup]]                            # once per client
//! emit = "join"
//! args = ["room-{{group}}"]
//!
//! [[action]]
//! emit = "chat message"
//! args = ["{{stamp}}"]
//! expect = "group"                     # nothing, sender, group, others, ack
//! weight = 9
//!
//! [[phase]]
//! name = "rush hour"
//! duration = "30s"
//! rate = [50, 500]                     # messages per second over all clients, from the first to the second
//! ```
//!
//! Everything that is not understood is an error with its line: a misspelt key is never ignored.

mod value;

use crate::plan::{Action, Expect, Parser, Phase, Plan, RATE_MAX, Reconnection, Setup, Transport};
use crate::report::threshold::Threshold;
use crate::scenario::builtin::{check_size, probe_action};
use crate::target::Target;
use crate::template::Template;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;
use value::{ThinkValue, arguments, duration_ms, json_of, think_of};

/// A parsed and checked file.
#[derive(Clone, Debug)]
pub struct ScenarioFile {
    file: File,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<String>,
    url: Option<String>,
    /// Conditions that fail the run, as with `--fail-if`.
    #[serde(default)]
    fail_if: Vec<Spanned<String>>,
    #[serde(default)]
    clients: Clients,
    #[serde(default)]
    setup: Vec<Spanned<SetupTable>>,
    #[serde(default)]
    action: Vec<Spanned<ActionTable>>,
    #[serde(default)]
    phase: Vec<Spanned<PhaseTable>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Clients {
    count: Spanned<u32>,
    group_size: Option<Spanned<u32>>,
    senders_per_group: Option<Spanned<u32>>,
    connect_rate: Spanned<f64>,
    transport: Transport,
    parser: Parser,
    namespace: Option<String>,
    deflate: bool,
    auth: Option<Spanned<toml::Value>>,
    headers: BTreeMap<String, Spanned<String>>,
    reconnect: bool,
    reconnect_delay: Option<Spanned<String>>,
    reconnect_delay_max: Option<Spanned<String>>,
    reconnect_jitter: Option<Spanned<f64>>,
    /// How long a client stays before another takes its place.
    lifetime: Option<Spanned<String>>,
    /// How long each client pauses between two messages; phases without a rate follow it.
    think: Option<Spanned<ThinkValue>>,
    slow_share: Spanned<f64>,
    slow_pause: Option<Spanned<String>>,
    poisson: bool,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            count: Spanned::new(0..0, 100),
            group_size: None,
            senders_per_group: None,
            connect_rate: Spanned::new(0..0, 200.0),
            transport: Transport::default(),
            parser: Parser::default(),
            namespace: None,
            deflate: false,
            auth: None,
            headers: BTreeMap::new(),
            reconnect: false,
            reconnect_delay: None,
            reconnect_delay_max: None,
            reconnect_jitter: None,
            lifetime: None,
            think: None,
            slow_share: Spanned::new(0..0, 0.0),
            slow_pause: None,
            poisson: true,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetupTable {
    emit: String,
    #[serde(default)]
    args: Vec<toml::Value>,
    /// Whether the handler wants a callback.
    #[serde(default)]
    ack: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionTable {
    name: Option<String>,
    /// The event; without it the action is the probe.
    emit: Option<String>,
    #[serde(default)]
    args: Vec<toml::Value>,
    #[serde(default = "one")]
    weight: u32,
    size: Option<usize>,
    expect: Option<Expect>,
    /// The event in which the answer comes, if it is not the one sent.
    reply: Option<String>,
    /// Whether the answer carries the stamp; it does unless the arguments have none.
    stamped: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PhaseTable {
    name: Option<String>,
    duration: Spanned<String>,
    rate: Option<Spanned<Rate>>,
    /// Instead of a rate, and of the clients' usual pauses.
    think: Option<Spanned<ThinkValue>>,
    clients: Option<Spanned<u32>>,
    #[serde(default = "yes")]
    measured: bool,
    /// The share of clients that lose their connection when the phase begins.
    #[serde(default = "none")]
    storm: Spanned<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, expecting = "a rate is a number of messages per second, or [from, to]")]
enum Rate {
    Steady(f64),
    Ramp(f64, f64),
}

fn one() -> u32 {
    1
}

fn none() -> Spanned<f64> {
    Spanned::new(0..0, 0.0)
}

fn yes() -> bool {
    true
}

impl ScenarioFile {
    /// Parses and checks a file's text.
    ///
    /// # Errors
    /// What is wrong and in which line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(String::new(), |span| format!("line {}: ", line_of(text, span.start)));
            format!("{line}{}", error.message().trim())
        })?;
        let at = |offset: usize, error: String| format!("line {}: {error}", line_of(text, offset));
        for action in &file.action {
            action_of(action.get_ref()).map_err(|error| at(action.span().start, error))?;
        }
        for setup in &file.setup {
            Template::parse(&arguments(&setup.get_ref().args)).map_err(|error| at(setup.span().start, error))?;
        }
        for condition in &file.fail_if {
            condition.get_ref().parse::<Threshold>().map_err(|error| at(condition.span().start, error))?;
        }
        check_clients(&file.clients).map_err(|(offset, error)| at(offset, error))?;
        for phase in &file.phase {
            check_phase(phase.get_ref(), *file.clients.count.get_ref())
                .map_err(|(offset, error)| at(offset.unwrap_or(phase.span().start), error))?;
        }
        if file.phase.is_empty() {
            return Err("there is no [[phase]]: a run needs at least one, with a duration".to_owned());
        }
        if file.action.len() > 255 {
            return Err("there may be 255 actions at most".to_owned());
        }
        Ok(Self { file })
    }

    /// The server that the file names.
    pub fn url(&self) -> Option<&str> {
        self.file.url.as_deref()
    }

    /// The conditions that fail its run.
    pub fn thresholds(&self) -> Vec<Threshold> {
        // All were parsed once, when the file was.
        self.file.fail_if.iter().filter_map(|condition| condition.get_ref().parse().ok()).collect()
    }

    /// The plan and phases. `clients` stands instead of the file's count.
    ///
    /// # Errors
    /// When there are no clients. Nothing else that [`ScenarioFile::parse`] accepts is wrong, at present.
    pub fn plan(&self, target: Target, clients: Option<u32>) -> Result<(Plan, Vec<Phase>), String> {
        let file = &self.file;
        let count = clients.unwrap_or(*file.clients.count.get_ref());
        if count == 0 {
            return Err("--clients must be at least 1".to_owned());
        }
        let mut plan = Plan::new(file.name.as_deref().unwrap_or("scenario"), target, count);
        plan.actions = file.action.iter().map(|action| action_of(action.get_ref())).collect::<Result<_, _>>()?;
        let default_group = if plan.has_group_actions() { count } else { 1 };
        plan.group_size =
            file.clients.group_size.as_ref().map_or(default_group, |size| *size.get_ref()).clamp(1, count);
        let senders = file.clients.senders_per_group.as_ref().map(|senders| *senders.get_ref());
        // A receiver keeps track of each sender that it hears.
        plan.senders_per_group = senders.unwrap_or(plan.group_size.min(64)).min(plan.group_size);
        plan.setup = file
            .setup
            .iter()
            .map(Spanned::get_ref)
            .map(|setup| Setup { event: setup.emit.clone(), arguments: arguments(&setup.args), ack: setup.ack })
            .collect();
        let clients = &file.clients;
        plan.connect_rate = *clients.connect_rate.get_ref();
        plan.transport = clients.transport;
        plan.parser = clients.parser;
        plan.deflate = clients.deflate;
        plan.poisson = clients.poisson;
        plan.slow_share = *clients.slow_share.get_ref();
        plan.headers = clients.headers.iter().map(|(name, value)| (name.clone(), value.get_ref().clone())).collect();
        plan.auth = clients.auth.as_ref().map(|auth| json_of(auth.get_ref()));
        plan.reconnection = reconnection_of(clients)?;
        if let Some(namespace) = &clients.namespace {
            plan.namespace = format!("/{}", namespace.trim_start_matches('/'));
        }
        let millis = |duration: &Option<Spanned<String>>| match duration {
            Some(text) => duration_ms(text.get_ref()).map(Some),
            None => Ok(None),
        };
        plan.lifetime_ms = millis(&clients.lifetime)?;
        plan.slow_pause_ms = millis(&clients.slow_pause)?.unwrap_or(plan.slow_pause_ms);
        let usual_think = clients.think.as_ref().map(|think| think_of(think.get_ref())).transpose()?;
        let mut phases = Vec::new();
        for (index, table) in file.phase.iter().enumerate() {
            let table = table.get_ref();
            let name = table.name.clone().unwrap_or_else(|| format!("phase {}", index + 1));
            // Fewer clients on the command line are fewer in each phase.
            let connected = table.clients.as_ref().map_or(count, |clients| *clients.get_ref()).min(count);
            let own_think = table.think.as_ref().map(|think| think_of(think.get_ref())).transpose()?;
            let think = own_think.or(usual_think.filter(|_| table.rate.is_none()));
            let (rate, rate_end) = match table.rate.as_ref().map(|rate| *rate.get_ref()) {
                None => {
                    let rate = think.map_or(0.0, |think| 1e3 * f64::from(plan.senders(connected)) / think.mean_ms());
                    (rate, rate)
                }
                Some(Rate::Steady(rate)) => (rate, rate),
                Some(Rate::Ramp(from, to)) => (from, to),
            };
            let phase = Phase::new(&name, duration_ms(table.duration.get_ref())?, rate, connected);
            let (measured, storm_share) = (table.measured, *table.storm.get_ref());
            phases.push(Phase { rate_end, think, measured, storm_share, ..phase });
        }
        Ok((plan, phases))
    }
}

fn check_clients(clients: &Clients) -> Result<(), (usize, String)> {
    let pauses = [&clients.reconnect_delay, &clients.reconnect_delay_max];
    if let Some(think) = &clients.think {
        think_of(think.get_ref()).map_err(|error| (think.span().start, error))?;
    }
    let durations = [&clients.lifetime, &clients.slow_pause];
    for duration in durations.into_iter().chain(pauses).flatten() {
        duration_ms(duration.get_ref()).map_err(|error| (duration.span().start, error))?;
    }
    if let Some(pause) = pauses.into_iter().flatten().next()
        && !clients.reconnect
    {
        return Err((pause.span().start, "a pause without `reconnect = true` has no effect".to_owned()));
    }
    if let Some(jitter) = &clients.reconnect_jitter {
        check_share("reconnect_jitter", jitter)?;
    }
    if let Some(auth) = &clients.auth {
        let at = |error| (auth.span().start, error);
        if !auth.get_ref().is_table() {
            return Err(at("auth must be a table, as in auth = { token = \"t-{{client}}\" }".to_owned()));
        }
        Template::parse(&json_of(auth.get_ref())).map_err(at)?;
    }
    for count in [Some(&clients.count), clients.group_size.as_ref()].into_iter().flatten() {
        if *count.get_ref() == 0 {
            return Err((count.span().start, "must be at least 1".to_owned()));
        }
    }
    let connect_rate = *clients.connect_rate.get_ref();
    if !(connect_rate > 0.0 && connect_rate <= RATE_MAX) {
        let error = "connect_rate must be above 0 and at most 10,000,000 connections per second";
        return Err((clients.connect_rate.span().start, error.to_owned()));
    }
    check_share("slow_share", &clients.slow_share)?;
    for (name, value) in &clients.headers {
        if name.is_empty() || name.contains([':', '\r', '\n']) || value.get_ref().contains(['\r', '\n']) {
            return Err((value.span().start, format!("{name:?} is no header: both name and value are one line")));
        }
    }
    if let Some(senders) = &clients.senders_per_group {
        let most = *clients.group_size.as_ref().unwrap_or(&clients.count).get_ref();
        if *senders.get_ref() == 0 || *senders.get_ref() > most {
            return Err((senders.span().start, format!("senders_per_group must be 1 to {most}")));
        }
    }
    Ok(())
}

/// `None`: somewhere in the table.
fn check_phase(phase: &PhaseTable, count: u32) -> Result<(), (Option<usize>, String)> {
    let place = |(offset, error)| (Some(offset), error);
    let duration = &phase.duration;
    let ms = duration_ms(duration.get_ref()).map_err(|error| (Some(duration.span().start), error))?;
    if ms == 0 {
        return Err((Some(duration.span().start), "duration must be above 0".to_owned()));
    }
    if let Some(rate) = &phase.rate {
        let (from, to) = match *rate.get_ref() {
            Rate::Steady(rate) => (rate, rate),
            Rate::Ramp(from, to) => (from, to),
        };
        if !((0.0..=RATE_MAX).contains(&from) && (0.0..=RATE_MAX).contains(&to)) {
            let error = "rate must be 0 or more messages per second, and at most 10,000,000";
            return Err((Some(rate.span().start), error.to_owned()));
        }
    }
    if let Some(think) = &phase.think {
        let at = |error| (Some(think.span().start), error);
        think_of(think.get_ref()).map_err(at)?;
        if phase.rate.is_some() {
            return Err(at("a phase has a rate or pauses of its own (think), not both".to_owned()));
        }
    }
    if let Some(clients) = &phase.clients
        && !(1..=count).contains(clients.get_ref())
    {
        return Err((Some(clients.span().start), format!("clients must be 1 to {count}, the count in [clients]")));
    }
    check_share("storm", &phase.storm).map_err(place)
}

fn check_share(name: &str, share: &Spanned<f64>) -> Result<(), (usize, String)> {
    let value = *share.get_ref();
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err((share.span().start, format!("{name} must be 0 to 1"))) }
}

fn reconnection_of(clients: &Clients) -> Result<Option<Reconnection>, String> {
    if !clients.reconnect {
        return Ok(None);
    }
    let default = Reconnection::default();
    let millis = |pause: &Option<Spanned<String>>, default| {
        pause.as_ref().map_or(Ok(default), |pause| duration_ms(pause.get_ref()))
    };
    let delay_ms = millis(&clients.reconnect_delay, default.delay_ms)?;
    Ok(Some(Reconnection {
        delay_ms,
        delay_max_ms: millis(&clients.reconnect_delay_max, default.delay_max_ms.max(delay_ms))?,
        jitter: clients.reconnect_jitter.as_ref().map_or(default.jitter, |jitter| *jitter.get_ref()),
    }))
}

fn action_of(table: &ActionTable) -> Result<Action, String> {
    let size = table.size.unwrap_or(64);
    check_size(size)?;
    if table.weight == 0 {
        return Err("weight must be at least 1".to_owned());
    }
    let Some(event) = &table.emit else {
        return Ok(Action {
            name: table.name.clone().unwrap_or_else(|| "probe".to_owned()),
            weight: table.weight,
            ..probe_action(size)
        });
    };
    let arguments = arguments(&table.args);
    let template = Template::parse(&arguments)?;
    let expect = table.expect.unwrap_or(Expect::Nothing);
    let stamped = table.stamped.unwrap_or(template.has_block());
    if stamped && !template.has_block() {
        return Err(format!(
            "{event} is to come back stamped, but its args have no {{{{stamp}}}} and no {{{{bytes}}}}"
        ));
    }
    if !stamped && matches!(expect, Expect::Group | Expect::Others) {
        return Err(format!(
            "{event} goes to a group, so its args need a {{{{stamp}}}}: receivers could not tell messages apart"
        ));
    }
    Ok(Action {
        name: table.name.clone().unwrap_or_else(|| event.clone()),
        weight: table.weight,
        event: event.clone(),
        arguments,
        size,
        expect,
        reply: table.reply.clone().unwrap_or_else(|| event.clone()),
        stamped,
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::Think;

    fn target() -> Target {
        Target {
            url: "http://a".to_owned(),
            address: "127.0.0.1:1".parse().unwrap(),
            authority: "a".to_owned(),
            host: "a".to_owned(),
            tls: false,
            authorities: None,
            insecure: false,
            path: "/socket.io/".to_owned(),
            namespace: "/".to_owned(),
        }
    }

    const CHAT: &str = r#"
name = "chat"
[clients]
count = 40
group_size = 10
think = "2s"
auth = { token = "t-{{client}}" }
[[setup]]
emit = "join"
args = ["room-{{group}}"]
[[action]]
emit = "chat message"
args = [{ text = "{{stamp}}", n = "{{sequence}}", tags = [1, true] }]
expect = "group"
weight = 9
[[action]]
name = "file"
emit = "upload"
args = ["{{bytes}}"]
expect = "ack"
size = 1000
[[phase]]
duration = "500ms"
measured = false
[[phase]]
name = "rush"
duration = "2m"
rate = [10, 100]
clients = 20
"#;

    #[test]
    fn a_file_becomes_a_plan() {
        let (plan, phases) = ScenarioFile::parse(CHAT).unwrap().plan(target(), None).unwrap();
        assert!(ScenarioFile::parse(CHAT).unwrap().plan(target(), Some(0)).is_err());
        assert_eq!((plan.clients, plan.group_size, plan.senders_per_group), (40, 10, 10));
        assert_eq!(plan.setup[0].arguments, r#""room-{{group}}""#);
        assert_eq!(plan.auth.as_deref(), Some(r#"{"token":"t-{{client}}"}"#));
        let message = &plan.actions[0];
        assert_eq!((message.name.as_str(), message.weight, message.expect), ("chat message", 9, Expect::Group));
        assert!(message.stamped && message.arguments.contains(r#""n":{{sequence}}"#), "{}", message.arguments);
        assert!(message.arguments.contains(r#""tags":[1,true]"#), "{}", message.arguments);
        assert_eq!((plan.actions[1].arguments.as_str(), plan.actions[1].size), ("{{bytes}}", 1000));
        assert_eq!((phases[0].rate, phases[0].duration_ms, phases[0].measured), (20.0, 500, false));
        assert_eq!(
            (phases[1].rate, phases[1].rate_end, phases[1].clients, phases[1].duration_ms),
            (10.0, 100.0, 20, 120_000)
        );
    }

    #[test]
    fn reconnection_and_conditions_are_read() {
        let with = |line: &str| CHAT.replacen("count = 40", &format!("count = 40\n{line}"), 1);
        let reconnection =
            |line: &str| ScenarioFile::parse(&with(line)).unwrap().plan(target(), None).unwrap().0.reconnection;
        assert_eq!(reconnection("reconnect = false"), None);
        assert_eq!(reconnection("reconnect = true"), Some(Reconnection::default()));
        let own = Reconnection { delay_ms: 200, delay_max_ms: 10_000, jitter: 0.0 };
        assert_eq!(
            reconnection(
                "reconnect = true\nreconnect_delay = \"200ms\"\nreconnect_delay_max = \"10s\"\nreconnect_jitter = 0.0"
            ),
            Some(own)
        );
        let file = CHAT.replacen("name = \"chat\"", "fail_if = [\"p99>20ms\", \"lost>0\"]", 1);
        assert_eq!(ScenarioFile::parse(&file).unwrap().thresholds().len(), 2);
    }

    /// Pauses are each client's own: of all, of one phase, or none where a rate is given.
    #[test]
    fn pauses_are_read_by_their_distribution() {
        let phases = |think: &str| {
            let text = CHAT.replacen("think = \"2s\"", think, 1).replacen(
                "measured = false",
                "measured = false\nthink = \"5s\"",
                1,
            );
            let text = format!("{text}[[phase]]\nduration = \"1s\"\n");
            ScenarioFile::parse(&text).unwrap().plan(target(), None).unwrap().1
        };
        for (text, think, rate) in [
            ("think = \"2s\"", Think::Exponential(2_000), 20.0),
            ("think = { exponential = \"4s\" }", Think::Exponential(4_000), 10.0),
            ("think = { fixed = \"500ms\" }", Think::Fixed(500), 80.0),
            ("think = { uniform = [\"1s\", \"3s\"] }", Think::Uniform(1_000, 3_000), 20.0),
        ] {
            let phases = phases(text);
            assert_eq!((phases[0].think, phases[0].rate), (Some(Think::Exponential(5_000)), 8.0), "{text}");
            assert_eq!((phases[1].think, phases[1].rate_end), (None, 100.0), "{text}");
            assert_eq!((phases[2].think, phases[2].rate, phases[2].rate_end), (Some(think), rate, rate), "{text}");
        }
    }

    /// Each mistake in the file above is told with its line and its remedy.
    #[test]
    fn mistakes_are_told_with_their_line() {
        for (from, to, line, words) in [
            ("count = 40", "cuont = 40", 4, "cuont"),
            ("count = 40", "count = \"x\"", 4, "u32"),
            ("count = 40", "count = 0", 4, "at least 1"),
            ("group_size = 10", "group_size = 0", 5, "at least 1"),
            ("group_size = 10", "group_size = 10\nsenders_per_group = 11", 6, "1 to 10"),
            ("group_size = 10", "group_size = 10\nconnect_rate = 0", 6, "above 0"),
            ("group_size = 10", "group_size = 10\nslow_share = 1.5", 6, "0 to 1"),
            ("group_size = 10", "group_size = 10\nheaders = { \"A:\" = \"b\" }", 6, "no header"),
            ("group_size = 10", "group_size = 10\nreconnect_delay = \"soon\"", 6, "no duration"),
            ("group_size = 10", "group_size = 10\nreconnect_delay = \"1s\"", 6, "no effect"),
            ("t-{{client}}", "t-{{nmae}}", 7, "nmae"),
            ("{ token = \"t-{{client}}\" }", "\"t-{{client}}\"", 7, "a table"),
            ("room-{{group}}", "room-{{gruop}}", 8, "gruop"),
            ("name = \"chat\"", "name = \"chat\"\nfail_if = [\"p99>20ms\", \"p98>1\"]", 3, "no metric"),
            ("rate = [10, 100]", "rate = [10, -1]", 28, "0 or more"),
            ("rate = [10, 100]", "rate = \"fast\"", 28, "or [from, to]"),
            ("clients = 20", "clients = 41", 29, "1 to 40"),
            ("clients = 20", "storm = 2", 29, "0 to 1"),
            ("duration = \"500ms\"", "duration = \"0s\"", 23, "above 0"),
            ("think = \"2s\"", "think = \"2 fortnights\"", 6, "no duration"),
            ("think = \"2s\"", "think = \"0s\"", 6, "at least 1ms"),
            ("think = \"2s\"", "think = { uniform = [\"3s\", \"2s\"] }", 6, "longer than"),
            ("think = \"2s\"", "think = { normal = \"3s\" }", 6, "{ fixed ="),
            ("clients = 20", "think = \"1s\"", 29, "not both"),
            ("expect = \"group\"", "expect = \"everybody\"", 14, "everybody"),
            ("weight = 9", "weight = 0", 11, "weight"),
            ("{{sequence}}", "{{seqence}}", 11, "seqence"),
            ("{{stamp}}", "hello", 11, "{{stamp}}"),
            ("size = 1000", "size = 3", 16, "size"),
            ("size = 1000", "size = 16777216", 16, "to 16777215"),
            ("rate = [10, 100]", "rate = 1e300", 28, "at most"),
            ("group_size = 10", "group_size = 10\nconnect_rate = 1e300", 6, "at most"),
            ("duration = \"2m\"", "duration = \"99999999m\"", 27, "longer than"),
            ("duration = \"2m\"", "duration = \"2\"", 27, "no duration"),
            ("[[setup]]", "[[setup]", 8, ""),
        ] {
            let text = CHAT.replacen(from, to, 1);
            assert_ne!(text, CHAT, "{from}");
            let error = ScenarioFile::parse(&text).unwrap_err();
            assert!(error.starts_with(&format!("line {line}:")) && error.contains(words), "{to}: {error}");
        }
        let error = ScenarioFile::parse("name = \"x\"").unwrap_err();
        assert!(error.contains("[[phase]]"), "{error}");
    }
}
