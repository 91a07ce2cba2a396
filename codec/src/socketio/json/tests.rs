//! The scanner against serde_json: it accepts the same texts and finds the same elements.
//!
//! The reference parses into `RawValue`, which checks the grammar alone, as the scanner does: numbers of any size and
//! lone surrogates are in order.

#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;

fn reference_accepts(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

fn reference_elements(text: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

fn elements(args: &str) -> Vec<&str> {
    argument_bounds(args).map(|range| &args[range]).collect()
}

/// Everything that the scanner can say about a text, against everything that serde_json says.
fn compare(text: &str) -> Result<(), TestCaseError> {
    prop_assert_eq!(validate(text).is_ok(), reference_accepts(text), "{}", text);
    let expected = reference_elements(text);
    match validate_array(text) {
        Ok(skim) => {
            prop_assert_eq!(Some(elements(&text[skim.elements.clone()])), expected.clone());
            prop_assert_eq!(Some(skim.element_count as usize), expected.as_ref().map(Vec::len));
        }
        Err(_) => prop_assert_eq!(&expected, &None),
    }
    let is_object = validate(text).is_ok() && text.trim_ascii_start().starts_with('{');
    prop_assert_eq!(validate_object(text).is_ok(), is_object);
    let is_event = expected
        .as_ref()
        .and_then(|elements| elements.first())
        .is_some_and(|first| first.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit()));
    match (skim_event(text), expected) {
        (Ok(skim), Some(expected)) => {
            let name = expected[0];
            let raw = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
            prop_assert_eq!(&text[skim.name.range.clone()], raw);
            if let Ok(unescaped) = serde_json::from_str::<String>(name) {
                prop_assert_eq!(skim.name.text(text), unescaped);
            }
            prop_assert_eq!(elements(&text[skim.arguments.clone()]), &expected[1..]);
            prop_assert_eq!(skim.argument_count as usize, expected.len() - 1);
        }
        (skim, _) => {
            prop_assert!(!is_event, "{} {:?}", text, skim);
            prop_assert!(skim.is_err());
        }
    }
    Ok(())
}

#[test]
fn event_is_taken_apart() {
    let text = r#" [ "chat" , {"a":[1,"]"]} ,"x\",y" , null ] "#;
    let skim = skim_event(text).unwrap();
    assert_eq!(skim.name.text(text), "chat");
    assert!(!skim.name.has_escapes);
    assert_eq!(&text[skim.arguments.clone()], r#"{"a":[1,"]"]} ,"x\",y" , null"#);
    assert_eq!(skim.argument_count, 3);
    assert_eq!(elements(&text[skim.arguments]), [r#"{"a":[1,"]"]}"#, r#""x\",y""#, "null"]);
}

#[test]
fn event_may_have_no_arguments_and_a_number_for_its_name() {
    let skim = skim_event(r#"["a"]"#).unwrap();
    assert_eq!((skim.arguments.is_empty(), skim.argument_count), (true, 0));
    let text = "[-1.5e3,2]";
    let skim = skim_event(text).unwrap();
    assert_eq!(skim.name.text(text), "-1.5e3");
    assert_eq!(&text[skim.arguments], "2");
}

#[test]
fn event_without_a_name_is_refused() {
    for text in ["[]", "[null]", "[true,\"a\"]", "[[\"a\"]]", "[{}]"] {
        assert_eq!(skim_event(text), Err(JsonError::EventNameMissing), "{text}");
    }
    for text in ["{}", "\"a\"", "1", "null"] {
        assert_eq!(skim_event(text), Err(JsonError::NotAnArray), "{text}");
    }
}

#[test]
fn errors_are_told_apart() {
    let cases = [
        ("", JsonError::UnexpectedEnd),
        ("[", JsonError::UnexpectedEnd),
        ("[1", JsonError::UnexpectedEnd),
        ("\"a", JsonError::UnexpectedEnd),
        ("\"\\", JsonError::UnexpectedEnd),
        ("{\"a\"", JsonError::UnexpectedEnd),
        ("1.", JsonError::UnexpectedEnd),
        ("-", JsonError::UnexpectedEnd),
        ("[1,]", JsonError::UnexpectedByte),
        ("[1}", JsonError::UnexpectedByte),
        ("{1:2}", JsonError::UnexpectedByte),
        ("{\"a\":1,}", JsonError::UnexpectedByte),
        ("[1 2]", JsonError::UnexpectedByte),
        ("tru", JsonError::UnexpectedByte),
        (".5", JsonError::UnexpectedByte),
        ("+1", JsonError::UnexpectedByte),
        ("NaN", JsonError::UnexpectedByte),
        ("\u{feff}1", JsonError::UnexpectedByte),
        ("\u{a0}1", JsonError::UnexpectedByte),
        ("'a'", JsonError::UnexpectedByte),
        ("01", JsonError::TrailingBytes),
        ("1 2", JsonError::TrailingBytes),
        ("{}]", JsonError::TrailingBytes),
        ("\"a\nb\"", JsonError::ControlCharacter),
        ("\"12345678\u{1f}\"", JsonError::ControlCharacter),
        ("\"\\x41\"", JsonError::InvalidEscape),
        ("\"\\u12g4\"", JsonError::InvalidEscape),
        ("\"\\U0041\"", JsonError::InvalidEscape),
    ];
    for (text, error) in cases {
        assert_eq!(validate(text), Err(error), "{text:?}");
        assert!(!reference_accepts(text), "{text:?}");
    }
}

#[test]
fn odd_but_valid_texts_are_accepted() {
    for text in [
        "-0",
        "1e999",
        "0.0E-0",
        "\"\\ud800\"",
        "\"\u{7f}\u{2028}\"",
        "[[],{}, [ ] ,{ }]",
        " \t\r\n1\t ",
        "\"\\u0000\\/\"",
    ] {
        assert_eq!(validate(text), Ok(()), "{text:?}");
        assert!(reference_accepts(text), "{text:?}");
    }
}

#[test]
fn depth_has_a_limit_and_containers_beside_each_other_do_not_count() {
    let nested = |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let depth_max = DEPTH_MAX as usize;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        assert_eq!(validate(&nested(open, close, depth_max)), Ok(()));
        assert_eq!(validate(&nested(open, close, depth_max + 1)), Err(JsonError::TooDeep));
        // The event's own array is one of them.
        let event = |depth| format!("[\"e\",{}]", nested(open, close, depth));
        let text = event(depth_max - 1);
        let skim = skim_event(&text).unwrap();
        assert_eq!(elements(&text[skim.arguments]), [nested(open, close, depth_max - 1)]);
        assert_eq!(skim_event(&event(depth_max)), Err(JsonError::TooDeep));
        assert_eq!(validate_array(&event(depth_max)), Err(JsonError::TooDeep));
    }
    assert_eq!(validate(&"[".repeat(1_000_000)), Err(JsonError::TooDeep));
    assert_eq!(validate(&format!("[{}[]]", "[],".repeat(1000))), Ok(()));
    let mixed = format!("{}1{}", "[{\"a\":".repeat(64), "}]".repeat(64));
    assert_eq!(validate(&mixed), Ok(()));
    assert_eq!(validate(&mixed.replace("1}", "1]")), Err(JsonError::UnexpectedByte));
}

#[test]
fn names_resolve_their_escapes() {
    for (raw, name) in [
        (r"a\tb\n\r\b\f\/\\\x22".replace("\\x22", "\\\"").as_str(), "a\tb\n\r\u{8}\u{c}/\\\""),
        (r"\u0063onnect", "connect"),
        (r"\ud83d\ude00!", "\u{1f600}!"),
        (r"\ud800\udc00\udbff\udfff", "\u{10000}\u{10ffff}"),
        (r"\udbff\ue000", "\u{fffd}\u{e000}"),
        (r"\ud83d", "\u{fffd}"),
        (r"\ud83d\ud83d\ude00", "\u{fffd}\u{1f600}"),
        (r"\ude00\u0041", "\u{fffd}A"),
        (r"\ud83dx", "\u{fffd}x"),
        (r"\ud83d\n", "\u{fffd}\n"),
        (r"\u00e9\u20AC", "\u{e9}\u{20ac}"),
    ] {
        let text = format!("[\"{raw}\"]");
        let skim = skim_event(&text).unwrap();
        assert!(skim.name.has_escapes);
        assert_eq!(skim.name.text(&text), name, "{raw}");
    }
}

/// The word-wise search against the loop over bytes, with every byte at every place.
#[test]
fn plain_length_finds_the_first_special_byte() {
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    for byte in 0..=255u8 {
        for place in 0..20 {
            // What follows a hit must not matter: the marks above the lowest may be wrong.
            for (before, after) in [(b'a', b'a'), (0xff, 0x80), (b'!', b'#'), (b'[', b']'), (0x20, 0x00)] {
                let mut bytes = vec![before; place];
                bytes.push(byte);
                bytes.extend(vec![after; 20 - place]);
                let expected = bytes.iter().position(|&byte| is_special(byte)).unwrap_or(bytes.len());
                assert_eq!(plain_length(&bytes), expected, "{byte:#x} at {place}");
            }
        }
    }
}

#[test]
fn bounds_of_text_that_was_not_validated_end_early() {
    assert_eq!(elements("1,x,2"), ["1"]);
    assert_eq!(elements(""), [""; 0]);
    assert_eq!(elements("1,"), ["1"]);
    assert_eq!(elements(",1"), [""; 0]);
}

/// JSON as people and programs write it, white space and escapes included.
fn json() -> impl Strategy<Value = String> {
    let string = r#"([ a-z,:\[\]{}\u{e9}\u{1f600}]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}){0,8}"#
        .prop_map(|inside| format!("\"{inside}\""));
    let number = "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?";
    let literal = prop_oneof![Just("true"), Just("false"), Just("null")].prop_map(str::to_owned);
    let leaf = prop_oneof![string.clone(), number, literal];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        let space = "[ \n\t\r]{0,2}";
        let array = (prop::collection::vec(inner.clone(), 0..5), space)
            .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(&format!("{space},"))));
        let object = (prop::collection::vec((string.clone(), inner), 0..4), space).prop_map(|(members, space)| {
            let members: Vec<_> = members.iter().map(|(key, value)| format!("{key}{space}:{space}{value}")).collect();
            format!("{{{space}{}{space}}}", members.join(","))
        });
        prop_oneof![array, object]
    })
}

proptest! {
    #[test]
    fn valid_json_is_read_as_serde_json_reads_it(text in json()) {
        prop_assert!(reference_accepts(&text));
        compare(&text)?;
    }

    #[test]
    fn events_are_read_as_serde_json_reads_them(name in json(), args in prop::collection::vec(json(), 0..4)) {
        let args: String = args.iter().map(|arg| format!(" ,{arg}")).collect();
        compare(&format!("[{name}{args}]"))?;
    }

    #[test]
    fn damaged_json_is_refused_exactly_when_serde_json_refuses_it(
        text in json(),
        place in any::<prop::sample::Index>(),
        damage in prop_oneof![Just(String::new()), "[ \\[\\]{}\",:\\\\0-9eE+.tfn\n-]{1,2}"],
        removed in 0usize..3,
    ) {
        let characters: Vec<char> = text.chars().collect();
        let place = place.index(characters.len() + 1);
        let kept = (place + removed).min(characters.len());
        let damaged: String =
            characters[..place].iter().copied().chain(damage.chars()).chain(characters[kept..].iter().copied()).collect();
        compare(&damaged)?;
    }

    #[test]
    fn any_text_is_judged_as_serde_json_judges_it(
        text in prop_oneof!["[\\[\\]{}\",:\\\\0-9eE+.u \n-]{0,12}", any::<String>()],
    ) {
        compare(&text)?;
    }

    #[test]
    fn strings_written_are_strings_read(text in any::<String>()) {
        let mut out = b"[".to_vec();
        crate::socketio::encode::write_json_string(&mut out, &text);
        out.push(b']');
        let written = std::str::from_utf8(&out).unwrap();
        prop_assert_eq!(skim_event(written).unwrap().name.text(written), text);
    }
}
