//! Any values, alone and in packets, against a naive encoder and `serde_json`.

use super::*;
use proptest::prelude::*;

/// A value as JavaScript has it.
#[derive(Clone, Debug)]
enum Tree {
    Null,
    Undefined,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Binary(Vec<u8>),
    Array(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// A naive encoder: the longest form of everything.
    fn write_long(&self, out: &mut Vec<u8>) {
        let long = |out: &mut Vec<u8>, marker: u8, len: usize| {
            out.push(marker);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        };
        match self {
            Self::Null => out.push(0xc0),
            Self::Undefined => out.extend_from_slice(&[0xd4, 0, 0]),
            Self::Bool(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
            Self::Integer(number) => {
                out.push(0xd3);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Float(number) => {
                out.push(0xcb);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Text(text) => {
                long(out, 0xdb, text.len());
                out.extend_from_slice(text.as_bytes());
            }
            Self::Binary(bytes) => {
                long(out, 0xc9, bytes.len());
                out.push(0);
                out.extend_from_slice(bytes);
            }
            Self::Array(items) => {
                long(out, 0xdd, items.len());
                items.iter().for_each(|item| item.write_long(out));
            }
            Self::Map(pairs) => {
                long(out, 0xdf, pairs.len());
                for (key, value) in pairs {
                    Self::Text(key.clone()).write_long(out);
                    value.write_long(out);
                }
            }
        }
    }

    /// What `JSON.stringify` would write, binary taken out.
    fn write_json(&self, out: &mut String, attachments: &mut Vec<Vec<u8>>) {
        match self {
            Self::Null | Self::Undefined => out.push_str("null"),
            Self::Bool(value) => out.push_str(&value.to_string()),
            Self::Integer(number) => out.push_str(&number.to_string()),
            Self::Float(number) => out.push_str(&serde_json::to_string(number).unwrap()),
            Self::Text(text) => out.push_str(&serde_json::to_string(text).unwrap()),
            Self::Binary(bytes) => {
                out.push_str(&format!("{{\"_placeholder\":true,\"num\":{}}}", attachments.len()));
                attachments.push(bytes.clone());
            }
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    item.write_json(out, attachments);
                }
                out.push(']');
            }
            Self::Map(pairs) => {
                out.push('{');
                let kept = pairs.iter().filter(|(_, value)| !matches!(value, Self::Undefined));
                for (index, (key, value)) in kept.enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    out.push_str(&format!("{}:", serde_json::to_string(key).unwrap()));
                    value.write_json(out, attachments);
                }
                out.push('}');
            }
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        Just(Tree::Undefined),
        any::<bool>().prop_map(Tree::Bool),
        any::<i64>().prop_map(Tree::Integer),
        (-200i64..70_000).prop_map(Tree::Integer),
        (-1000.0f64..1000.0).prop_filter("with a fraction", |number| number.fract() != 0.0).prop_map(Tree::Float),
        any::<String>().prop_map(Tree::Text),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Tree::Binary),
    ];
    leaf.prop_recursive(4, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Tree::Array),
            prop::collection::vec(("[a-c\"\u{e9}]{0,3}", inner), 0..20).prop_map(Tree::Map),
        ]
    })
}

proptest! {
    #[test]
    fn trees_become_their_json_and_come_back(trees in prop::collection::vec(tree(), 0..4)) {
        let mut bytes = Vec::new();
        trees.iter().for_each(|tree| tree.write_long(&mut bytes));
        let (mut expected, mut expected_attachments) = (String::new(), Vec::new());
        for (index, tree) in trees.iter().enumerate() {
            expected.push_str(if index > 0 { "," } else { "" });
            tree.write_json(&mut expected, &mut expected_attachments);
        }
        let (mut json, mut ranges) = (Vec::new(), Vec::new());
        to_json(&bytes, &mut json, &mut ranges).unwrap();
        prop_assert_eq!(String::from_utf8(json).unwrap(), expected.clone());
        let attachments: Vec<_> = ranges.into_iter().map(|range| bytes[range].to_vec()).collect();
        prop_assert_eq!(&attachments, &expected_attachments);
        // Back to MessagePack, in the shortest forms, and to the same JSON again.
        let mut short = Vec::new();
        prop_assert_eq!(from_json(&expected, &attachments, &mut short), Ok(trees.len() as u32));
        prop_assert!(short.len() <= bytes.len());
        let (mut again, mut ranges) = (Vec::new(), Vec::new());
        to_json(&short, &mut again, &mut ranges).unwrap();
        prop_assert_eq!(String::from_utf8(again).unwrap(), expected);
        prop_assert_eq!(ranges.into_iter().map(|range| short[range].to_vec()).collect::<Vec<_>>(), attachments);
    }

    #[test]
    fn packets_go_round(
        name in "[a-z\u{e9}]{0,40}",
        trees in prop::collection::vec(tree(), 0..3),
        namespace in "/[a-z]{0,40}",
        id in prop::option::of(0..=ID_MAX),
        is_ack in any::<bool>(),
        is_broadcast in any::<bool>(),
    ) {
        prop_assume!(!is_reserved_event(&name));
        let mut data = String::from("[");
        if !is_ack {
            data.push_str(&serde_json::to_string(&name).unwrap());
        }
        let mut attachments = Vec::new();
        for (index, tree) in trees.iter().enumerate() {
            data.push_str(if index > 0 || !is_ack { "," } else { "" });
            tree.write_json(&mut data, &mut attachments);
        }
        data.push(']');
        let kind = if is_ack { PacketKind::Ack } else { PacketKind::Event };
        let head = PacketHead { kind, namespace: &namespace, id, is_broadcast };
        let mut message = Vec::new();
        encode_json(&mut message, &head, &data, &attachments).unwrap();
        let packet = decode(&message, &MsgpackLimits { attachments_max: u32::MAX }).unwrap();
        prop_assert_eq!((packet.kind, packet.namespace, packet.id), (kind, &*namespace, id));
        prop_assert_eq!(packet.attachment_count as usize, attachments.len());
        prop_assert_eq!(packet.argument_count() as usize, trees.len());
        let found_name = packet.event_name();
        prop_assert_eq!(found_name.as_deref(), (!is_ack).then_some(&*name));
        prop_assert_eq!(json_of(packet.data.unwrap()).unwrap(), data);
        let mut raw = Vec::new();
        encode_raw(&mut raw, &head, packet.data);
        prop_assert_eq!(raw, message);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), pairs in 0u8..4) {
        let _ = text_of(&bytes);
        let _ = json_of(&bytes);
        let message = [&[0x80 | pairs], hex(&format!("{TYPE} 02 {ROOT} {DATA} 92 a165")).as_slice(), &bytes].concat();
        let _ = text_of(&message);
    }
}
