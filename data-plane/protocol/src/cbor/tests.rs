//! Reading against the examples of RFC 8949, appendix A; writing byte for byte; hostile bodies.

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::document::{DEPTH_MAX, NODES_MAX};

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("hexadecimal")
    };
    digits.map(byte).collect()
}

fn list(items: impl IntoIterator<Item = Document<'static>>) -> Document<'static> {
    Document::List(items.into_iter().collect())
}

fn integers(items: impl IntoIterator<Item = i64>) -> Document<'static> {
    list(items.into_iter().map(Document::Integer))
}

fn map(items: Vec<(&'static str, Document<'static>)>) -> Document<'static> {
    let items = items.into_iter();
    Document::Map(items.map(|(name, item)| (name.into(), item)).collect())
}

fn text(text: &'static str) -> Document<'static> {
    Document::Text(text.into())
}

#[test]
fn numbers_of_the_standard_are_read() {
    for (hex, number) in [
        ("00", 0),
        ("0a", 10),
        ("17", 23),
        ("1818", 24),
        ("1903e8", 1000),
        ("1a000f4240", 1_000_000),
        ("1b000000e8d4a51000", 1_000_000_000_000),
        ("20", -1),
        ("3863", -100),
        ("3903e7", -1000),
        ("c11a514b67b0", 1_363_896_240),
    ] {
        assert_eq!(read(&bytes(hex)), Some(Document::Integer(number)), "{hex}");
    }
    for (hex, number) in [
        ("1bffffffffffffffff", 18_446_744_073_709_551_615.0),
        ("3bffffffffffffffff", -18_446_744_073_709_551_616.0),
        ("f93c00", 1.0),
        ("f93e00", 1.5),
        ("f97bff", 65504.0),
        ("f90001", 5.960_464_477_539_063e-8),
        ("f90400", 0.000_061_035_156_25),
        ("f9c400", -4.0),
        ("f97c00", f64::INFINITY),
        ("f9fc00", f64::NEG_INFINITY),
        ("fa47c35000", 100_000.0),
        ("fb3ff199999999999a", 1.1),
        ("c1fb41d452d9ec200000", 1_363_896_240.5),
    ] {
        assert_eq!(read(&bytes(hex)), Some(Document::Double(number)), "{hex}");
    }
    let Some(Document::Double(number)) = read(&bytes("f97e00")) else {
        panic!("a number that is none");
    };
    assert!(number.is_nan());
}

#[test]
fn everything_else_of_the_standard_is_read() {
    let nested = || list([Document::Integer(1), integers([2, 3]), integers([4, 5])]);
    let one_two = || map(vec![("a", Document::Integer(1)), ("b", integers([2, 3]))]);
    for (hex, document) in [
        ("f4", Document::Bool(false)),
        ("f5", Document::Bool(true)),
        ("f6", Document::Null),
        ("f7", Document::Null),
        ("40", Document::Bytes(Cow::Borrowed(&[]))),
        ("4401020304", Document::Bytes((&[1, 2, 3, 4]).into())),
        ("d74401020304", Document::Bytes((&[1, 2, 3, 4]).into())),
        ("60", text("")),
        ("6449455446", text("IETF")),
        ("62225c", text("\"\\")),
        ("64f0908591", text("\u{10151}")),
        ("80", list([])),
        ("8301820203820405", nested()),
        (
            "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
            integers(1..26),
        ),
        ("a26161016162820203", one_two()),
        (
            "5f42010243030405ff",
            Document::Bytes((&[1, 2, 3, 4, 5]).into()),
        ),
        ("7f657374726561646d696e67ff", text("streaming")),
        ("9fff", list([])),
        ("9f018202039f0405ffff", nested()),
        ("83018202039f0405ff", nested()),
        ("bf61610161629f0203ffff", one_two()),
        (
            "826161bf61626163ff",
            list([text("a"), map(vec![("b", text("c"))])]),
        ),
    ] {
        assert_eq!(read(&bytes(hex)), Some(document), "{hex}");
    }
}

#[test]
fn what_stands_in_the_body_as_it_is_is_borrowed() {
    let body = bytes("82425a5a626161");
    let Some(Document::List(items)) = read(&body) else {
        panic!("a list");
    };
    assert!(matches!(&items[0], Document::Bytes(Cow::Borrowed(b"ZZ"))));
    assert!(matches!(&items[1], Document::Text(Cow::Borrowed("aa"))));
}

#[test]
fn what_is_no_cbor_of_ours_is_refused() {
    for (hex, why) in [
        ("", "nothing"),
        ("0000", "two items"),
        ("18", "an argument that is cut off"),
        ("1c", "a reserved argument"),
        ("1f", "a number without end"),
        ("ff", "a break outside"),
        ("6261", "a text that is cut off"),
        ("62c328", "a text that is no UTF-8"),
        ("7f62c328ff", "a part that is no UTF-8"),
        ("7f61c361a9ff", "a character over two parts"),
        ("5f6161ff", "a text in bytes"),
        ("5f5f4101ffff", "parts in parts"),
        ("5f4101", "bytes without end"),
        ("8201", "a list that is cut off"),
        ("9f01", "a list without end"),
        ("a10102", "a name that is a number"),
        ("a14161f5", "a name that is bytes"),
        ("bf6161ff", "a name without a value"),
        ("c1", "a tag of nothing"),
        ("df01", "a tag without end"),
        ("f0", "a simple value without meaning"),
        ("f818", "a simple value of two bytes"),
        ("fb3ff1", "a number that is cut off"),
    ] {
        assert_eq!(read(&bytes(hex)), None, "{why}");
    }
}

#[test]
fn lengths_that_are_announced_are_not_believed() {
    for head in ["5b", "7b", "9b", "bb"] {
        for length in ["ffffffffffffffff", "7fffffffffffffff", "0000000100000000"] {
            assert_eq!(read(&bytes(&format!("{head}{length}00"))), None);
        }
    }
}

#[test]
fn a_body_that_is_too_deep_or_has_too_many_values_is_refused() {
    let deep = |head: &[u8], n: u32| {
        let mut body = head.repeat(usize::try_from(n).expect("fits"));
        body.push(0);
        body
    };
    for head in [&b"\x81"[..], b"\xa1\x61a", b"\xc1"] {
        assert!(read(&deep(head, DEPTH_MAX)).is_some());
        assert_eq!(read(&deep(head, DEPTH_MAX + 1)), None);
        assert_eq!(read(&deep(head, 1_000_000)), None);
    }
    let wide = |n: u32| {
        let mut body = vec![0x9f];
        body.resize(usize::try_from(n).expect("fits"), 0);
        body.push(BREAK);
        body
    };
    assert!(read(&wide(NODES_MAX)).is_some());
    assert_eq!(read(&wide(NODES_MAX + 1)), None);
}

#[test]
fn only_maps_and_lists_count_as_structures() {
    for good in ["a0", "bfff", "80", "9fff", "c1a0"] {
        assert!(is_object(&bytes(good)), "{good}");
    }
    for bad in ["", "01", "f6", "6161", "4161", "a1", "7b7d"] {
        assert!(!is_object(&bytes(bad)), "{bad}");
    }
}

fn written(write: impl FnOnce(&mut CborWriter)) -> Bytes {
    let mut writer = CborWriter::with_capacity(16);
    write(&mut writer);
    writer.finish()
}

#[test]
fn values_are_written_in_their_shortest_form() {
    let found = written(|w| {
        w.begin_object();
        w.field("a");
        w.begin_list();
        w.integer(23);
        w.begin_object();
        w.end_object();
        w.begin_object();
        w.field("x");
        w.boolean(true);
        w.field("y");
        w.boolean(false);
        w.end_object();
        w.end_list();
        w.field("b");
        w.blob(b"\xff\xff");
        w.field("c");
        w.plain(7);
        w.field("d");
        w.timestamp(Millis(1_441_215_410_867));
        w.end_object();
    });
    let wanted = "a461619f17a0a26178f56179f4ff616242ffff6163613761641b0000014f8f21f2b3";
    assert_eq!(found, bytes(wanted));
    for (number, hex) in [
        (24, "1818"),
        (255, "18ff"),
        (256, "190100"),
        (65_535, "19ffff"),
        (65_536, "1a00010000"),
        (4_294_967_295, "1affffffff"),
        (4_294_967_296, "1b0000000100000000"),
    ] {
        assert_eq!(written(|w| w.integer(number)), bytes(hex));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body: Vec<u8>) {
        let _unused = read(&body);
    }

    #[test]
    fn any_heads_are_read_or_refused(
        heads in prop::collection::vec(0usize..16, 0..200), ends in 0usize..20,
    ) {
        const HEADS: [u8; 16] = [
            0x00, 0x20, 0x40, 0x41, 0x5f, 0x60, 0x61, 0x7f, 0x80, 0x82, 0x9f, 0xa0, 0xa1, 0xbf,
            0xc1, 0xf9,
        ];
        let mut body: Vec<_> = heads.iter().map(|head| HEADS[*head]).collect();
        body.resize(body.len() + ends, BREAK);
        let _unused = read(&body);
    }

    #[test]
    fn what_is_written_reads_back(name in "[a-zA-Z0-9_]{0,300}", data: Vec<u8>, number: u32) {
        let body = written(|w| {
            w.begin_object();
            w.field("text");
            w.string(&name);
            w.field("data");
            w.blob(&data);
            w.field("numbers");
            w.begin_list();
            w.integer(number.into());
            w.plain(number);
            w.end_list();
            w.end_object();
        });
        let numbers = vec![
            Document::Integer(number.into()),
            Document::Text(number.to_string().into()),
        ];
        let wanted = Document::Map(vec![
            ("text".into(), Document::Text((&*name).into())),
            ("data".into(), Document::Bytes((&*data).into())),
            ("numbers".into(), Document::List(numbers)),
        ]);
        prop_assert_eq!(read(&body), Some(wanted));
    }
}
