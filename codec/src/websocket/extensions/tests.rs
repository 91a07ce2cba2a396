//! Lists and offers; the right sides were printed by `ws` 8.21.3 in Node 20.

#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

/// `a[b=c&d] e[]`, or `!` for an error.
fn decoded(value: &str) -> String {
    let Ok(extensions) = decode(value.as_bytes()) else { return "!".to_owned() };
    let extension = |extension: &Extension<'_>| {
        let parameter = |parameter: &Parameter<'_>| match &parameter.value {
            Some(value) => format!("{}={value}", parameter.name),
            None => parameter.name.to_owned(),
        };
        let parameters: Vec<_> = extension.parameters.iter().map(parameter).collect();
        format!("{}[{}]", extension.name, parameters.join("&"))
    };
    extensions.iter().map(extension).collect::<Vec<_>>().join(" ")
}

/// `s c S10 C11`, `plain` without any parameter, `-` without the extension, `none` if no offer fits, `!` for an error.
fn agreed(value: &str, options: &DeflateOptions) -> String {
    let parameters = match negotiate([value.as_bytes()].into_iter(), options) {
        Ok(None) => return "-".to_owned(),
        Ok(Some(parameters)) => parameters,
        Err(ExtensionError::NoneAcceptable) => return "none".to_owned(),
        Err(_) => return "!".to_owned(),
    };
    let mut words = Vec::new();
    words.extend(parameters.server_no_context_takeover.then(|| "s".to_owned()));
    words.extend(parameters.client_no_context_takeover.then(|| "c".to_owned()));
    words.extend(parameters.server_max_window_bits.map(|bits| format!("S{}", bits.get())));
    words.extend(parameters.client_max_window_bits.map(|bits| format!("C{}", bits.get())));
    if words.is_empty() { "plain".to_owned() } else { words.join(" ") }
}

#[test]
fn lists_are_read_as_by_ws() {
    let cases = [
        ("", "!"),
        ("a", "a[]"),
        ("a,b", "a[] b[]"),
        ("a, b;c", "a[] b[c]"),
        ("a;b=c", "a[b=c]"),
        ("a;b=\"c\"", "a[b=c]"),
        ("a;b=\"c\\d\"", "a[b=cd]"),
        ("a;b=\"\\c\"", "a[b=c]"),
        ("a;b=\"\"", "!"),
        ("a;b=\"c", "!"),
        ("a;b=\"c\\", "!"),
        ("a;b=\"c d\"", "!"),
        ("a;b =\"c\"", "!"),
        ("a;b= c", "!"),
        ("a; b", "a[b]"),
        ("a ;b", "a[b]"),
        ("a\t;\tb ", "!"),
        ("a ", "!"),
        (" a", "!"),
        (",", "!"),
        ("a,", "!"),
        ("a,,b", "!"),
        ("a;", "!"),
        ("a;;b", "!"),
        ("a;=c", "!"),
        ("a;b=", "!"),
        ("a;b=c d", "!"),
        ("a;b=\"c\"d", "!"),
        ("a;b=\"c\" ;d", "a[b=c&d]"),
        ("a b", "!"),
        ("a;b c", "!"),
        ("a\"", "!"),
        ("a;b=c\"", "!"),
        ("constructor", "constructor[]"),
        ("__proto__;__proto__=1", "__proto__[__proto__=1]"),
        ("a;constructor", "a[constructor]"),
        ("a;b;b", "a[b&b]"),
        ("\u{e9}", "!"),
        ("a;b=\u{e9}", "!"),
        ("a;b=\"c\",d", "a[b=c] d[]"),
        ("(a)", "!"),
        ("a;b=c=d", "!"),
        ("!#$%&'*+-.^_`|~0", "!#$%&'*+-.^_`|~0[]"),
    ];
    for (value, expected) in cases {
        assert_eq!(decoded(value), expected, "{value:?}");
    }
    assert_eq!(decode(b"a\xff"), Err(ExtensionError::Malformed));
}

#[test]
fn offers_are_answered_as_by_ws() {
    let none = DeflateOptions::default();
    let options = [
        none,
        DeflateOptions { server_no_context_takeover: Some(true), client_no_context_takeover: true, ..none },
        DeflateOptions { server_no_context_takeover: Some(false), ..none },
        DeflateOptions { server_max_window_bits: WindowBits::new(10), ..none },
        DeflateOptions { client_max_window_bits: WindowBits::new(11), ..none },
    ];
    let cases = [
        ("permessage-deflate", ["plain", "s c", "plain", "S10", "none"]),
        ("permessage-deflate; client_max_window_bits", ["plain", "s c", "plain", "S10", "C11"]),
        ("permessage-deflate; server_no_context_takeover", ["s", "s c", "none", "s S10", "none"]),
        ("permessage-deflate; client_no_context_takeover", ["c", "s c", "c", "c S10", "none"]),
        ("permessage-deflate; server_max_window_bits=9", ["S9", "s c S9", "S9", "none", "none"]),
        ("permessage-deflate; server_max_window_bits=10", ["S10", "s c S10", "S10", "S10", "none"]),
        ("permessage-deflate; server_max_window_bits=15", ["S15", "s c S15", "S15", "S10", "none"]),
        ("permessage-deflate; client_max_window_bits=10", ["C10", "s c C10", "C10", "S10 C10", "none"]),
        ("permessage-deflate; client_max_window_bits=12", ["C12", "s c C12", "C12", "S10 C12", "C11"]),
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits",
            ["s c S12", "s c S12", "none", "s c S10", "s c S12 C11"],
        ),
        ("permessage-deflate; server_max_window_bits", ["!", "!", "!", "!", "!"]),
        ("permessage-deflate; server_no_context_takeover=1", ["!", "!", "!", "!", "!"]),
        ("permessage-deflate; client_no_context_takeover=true", ["!", "!", "!", "!", "!"]),
        ("permessage-deflate; server_max_window_bits=7", ["!", "!", "!", "!", "!"]),
        ("permessage-deflate; server_max_window_bits=16", ["!", "!", "!", "!", "!"]),
        ("permessage-deflate; client_max_window_bits=7", ["!", "!", "!", "!", "!"]),
        ("permessage-deflate; client_max_window_bits=a", ["!", "!", "!", "!", "!"]),
        ("permessage-deflate; x", ["!", "!", "!", "!", "!"]),
        ("permessage-deflate; constructor", ["!", "!", "!", "!", "!"]),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", ["!", "!", "!", "!", "!"]),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits=10", ["!", "!", "!", "!", "!"]),
        ("permessage-deflate; server_max_window_bits=\"11\"", ["S11", "s c S11", "S11", "S10", "none"]),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", ["S9", "s c S9", "S9", "S10", "none"]),
        (
            "permessage-deflate; server_no_context_takeover, permessage-deflate; client_max_window_bits",
            ["s", "s c", "plain", "s S10", "C11"],
        ),
        ("permessage-deflate, permessage-deflate; x", ["!", "!", "!", "!", "!"]),
        ("x-webkit-deflate-frame", ["-", "-", "-", "-", "-"]),
        ("x, permessage-deflate, y; z=1", ["plain", "s c", "plain", "S10", "none"]),
        ("permessage-deflate, a;", ["!", "!", "!", "!", "!"]),
        ("PERMESSAGE-DEFLATE", ["-", "-", "-", "-", "-"]),
        (
            "permessage-deflate; server_no_context_takeover, permessage-deflate; client_max_window_bits; server_max_window_bits=10",
            ["s", "s c", "S10", "s S10", "S10 C11"],
        ),
    ];
    for (value, expected) in cases {
        let found = options.map(|options| agreed(value, &options));
        assert_eq!(found, expected, "{value}");
    }
}

#[test]
fn numbers_are_plain_digits() {
    let offer = |bits: &str| format!("permessage-deflate; server_max_window_bits={bits}");
    for bits in 8..=15 {
        assert_eq!(agreed(&offer(&bits.to_string()), &DeflateOptions::default()), format!("S{bits}"));
    }
    for bits in ["0x9", "09", "9.0", "1e1", "+9", "-9", "7", "16", "100", "1a"] {
        let refused = negotiate([offer(bits).as_bytes()].into_iter(), &DeflateOptions::default());
        assert_eq!(refused, Err(ExtensionError::InvalidValue), "{bits}");
    }
    assert_eq!((0..=255).filter_map(WindowBits::new).count(), 8);
}

#[test]
fn errors_say_what_is_wrong() {
    let error = |value: &str| negotiate([value.as_bytes()].into_iter(), &DeflateOptions::default()).unwrap_err();
    assert_eq!(error("a b"), ExtensionError::Malformed);
    assert_eq!(error("permessage-deflate; x"), ExtensionError::UnknownParameter);
    let twice = "permessage-deflate; client_max_window_bits; client_max_window_bits";
    assert_eq!(error(twice), ExtensionError::RepeatedParameter);
    assert_eq!(error("permessage-deflate; server_max_window_bits"), ExtensionError::InvalidValue);
}

#[test]
fn counts_are_bounded() {
    let list = |count| vec!["a"; count].join(",");
    assert_eq!(decode(list(OFFER_COUNT_MAX).as_bytes()).unwrap().len(), OFFER_COUNT_MAX);
    assert_eq!(decode(list(OFFER_COUNT_MAX + 1).as_bytes()), Err(ExtensionError::TooMany));
    let parameters = |count| format!("a{}", ";b".repeat(count));
    assert_eq!(decode(parameters(PARAMETER_COUNT_MAX).as_bytes()).unwrap()[0].parameters.len(), PARAMETER_COUNT_MAX);
    assert_eq!(decode(parameters(PARAMETER_COUNT_MAX + 1).as_bytes()), Err(ExtensionError::TooMany));
}

#[test]
fn several_fields_are_one_list() {
    let options = DeflateOptions { server_no_context_takeover: Some(false), ..DeflateOptions::default() };
    let fields = [b"permessage-deflate; server_no_context_takeover".as_slice(), b"x", b"permessage-deflate"];
    assert_eq!(negotiate(fields.into_iter(), &options), Ok(Some(DeflateParameters::default())));
    assert_eq!(negotiate(fields[..2].iter().copied(), &options), Err(ExtensionError::NoneAcceptable));
    assert_eq!(negotiate(std::iter::empty(), &options), Ok(None));
}

#[test]
fn answers_are_written_as_the_specification_says() {
    let mut out = String::new();
    DeflateParameters::default().write(&mut out);
    assert_eq!(out, "permessage-deflate");
    out.clear();
    let all = DeflateParameters {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: WindowBits::new(8),
        client_max_window_bits: Some(WindowBits::MAX),
    };
    all.write(&mut out);
    assert_eq!(
        out,
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8; \
         client_max_window_bits=15"
    );
}

#[test]
fn short_messages_are_left_alone_without_context_takeover() {
    let kept = DeflateParameters::default();
    let forgotten = DeflateParameters { server_no_context_takeover: true, ..kept };
    assert!(kept.is_worth_compressing(1, 1024));
    assert!(!forgotten.is_worth_compressing(1023, 1024));
    assert!(forgotten.is_worth_compressing(1024, 1024));
}

proptest! {
    /// An answer is an offer too: one that is accepted as it is.
    #[test]
    fn answers_go_round(
        server_no_context_takeover in any::<bool>(),
        client_no_context_takeover in any::<bool>(),
        server_bits in 7u8..16,
        client_bits in 7u8..16,
    ) {
        let parameters = DeflateParameters {
            server_no_context_takeover,
            client_no_context_takeover,
            server_max_window_bits: WindowBits::new(server_bits),
            client_max_window_bits: WindowBits::new(client_bits),
        };
        let mut value = String::new();
        parameters.write(&mut value);
        let agreed = negotiate([value.as_bytes()].into_iter(), &DeflateOptions::default());
        prop_assert_eq!(agreed, Ok(Some(parameters)));
    }

    #[test]
    fn lists_go_round(
        list in prop::collection::vec(
            ("[a-z_]{1,5}", prop::collection::vec(("[a-z]{1,3}", prop::option::of("[0-9a-z]{1,3}"), 0u8..3), 0..4)),
            1..5,
        ),
        space in "[ \t]{0,2}",
    ) {
        let mut value = Vec::new();
        let mut expected = Vec::new();
        for (name, parameters) in &list {
            let mut text = name.clone();
            let mut shown = Vec::new();
            for (name, parameter, spelling) in parameters {
                text += &format!("{space};{space}{name}");
                let Some(parameter) = parameter else {
                    shown.push(name.clone());
                    continue;
                };
                text += &match spelling {
                    0 => format!("={parameter}"),
                    1 => format!("=\"{parameter}\""),
                    _ => format!("=\"\\{parameter}\""),
                };
                shown.push(format!("{name}={parameter}"));
            }
            value.push(text);
            expected.push(format!("{name}[{}]", shown.join("&")));
        }
        prop_assert_eq!(decoded(&value.join(&format!("{space},{space}"))), expected.join(" "));
    }

    #[test]
    fn nothing_panics(value in prop_oneof!["[a-b;,=\"\\\\ ]{0,20}", any::<String>()]) {
        let _ = decode(value.as_bytes());
    }
}
