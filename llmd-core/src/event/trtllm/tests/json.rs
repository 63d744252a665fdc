//! JSON is read as another reader reads it.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::super::json::{Cursor, Value};

/// Any JSON that is not deep.
fn anything() -> impl Strategy<Value = Json> {
    let scalar = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<i32>().prop_map(|eighths| Json::from(f64::from(eighths) / 8.0)),
        any::<String>().prop_map(Json::from),
    ];
    scalar.prop_recursive(6, 64, 8, |inner| {
        let object = proptest::collection::vec((any::<String>(), inner.clone()), 0..8);
        prop_oneof![
            proptest::collection::vec(inner, 0..8).prop_map(Json::from),
            object.prop_map(|fields| Json::Object(fields.into_iter().collect())),
        ]
    })
}

/// What stands at the cursor, by way of every method it has.
fn read(cursor: &mut Cursor<'_>) -> Json {
    let start = cursor.at();
    match cursor.value().unwrap() {
        Value::Array(mut open) => {
            let mut items = Vec::new();
            while cursor.item(&mut open).unwrap() {
                items.push(read(cursor));
            }
            Json::Array(items)
        }
        Value::Object(mut open) => {
            let mut fields = serde_json::Map::new();
            while let Some(key) = cursor.key(&mut open).unwrap() {
                fields.insert(key.decoded().unwrap().into_owned(), read(cursor));
            }
            Json::Object(fields)
        }
        Value::Bool => Json::Bool(cursor.since(start) == b"true"),
        Value::Integer(number) => {
            i64::try_from(number).map(Json::from).unwrap_or_else(|_| json!(u64::try_from(number).unwrap()))
        }
        Value::Null => Json::Null,
        Value::Other => serde_json::from_slice(cursor.since(start)).unwrap(),
        Value::Text(text) => Json::String(text.decoded().unwrap().into_owned()),
    }
}

proptest! {
    #[test]
    fn what_another_writes_is_read_and_skipped(value in anything(), pretty: bool) {
        let write = if pretty { serde_json::to_vec_pretty } else { serde_json::to_vec };
        let text = [write(&value).unwrap(), b" ]".to_vec()].concat();
        let mut cursor = Cursor::new(&text);
        prop_assert_eq!(read(&mut cursor), value);
        prop_assert_eq!(cursor.left(), 2);
        let mut cursor = Cursor::new(&text);
        cursor.skip().unwrap();
        prop_assert_eq!(cursor.left(), 2);
    }

    /// Of texts that are nearly JSON, both take the same; only what stands inside of strings is not looked at.
    #[test]
    fn what_another_refuses_is_not_skipped(text in r#"[ \[\]{},:"01e.+-]{0,12}(null|true|false|"a"|)[ \[\]{},:"01e.+-]{0,6}"#) {
        let theirs = serde_json::from_str::<Json>(&text);
        let mut cursor = Cursor::new(text.as_bytes());
        let skipped = cursor.skip();
        cursor.at();
        let ours = skipped.is_ok() && cursor.left() == 0;
        let huge = theirs.as_ref().is_err_and(|error| error.to_string().contains("number out of range"));
        prop_assert_eq!(ours, theirs.is_ok() || huge, "{:?}", theirs);
    }
}

#[test]
fn escapes_say_characters() {
    let say = |text: &str| match Cursor::new(text.as_bytes()).value().unwrap() {
        Value::Text(text) => text.decoded().map(std::borrow::Cow::into_owned).ok(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        say(r#""\"\\\/\b\f\n\r\tA\u00e9\u20AC\ud83d\ude00z""#).unwrap(),
        "\"\\/\u{8}\u{c}\n\r\tA\u{e9}\u{20ac}\u{1f600}z"
    );
    for bad in
        [r#""\x""#, r#""\u12""#, r#""\ud83d""#, r#""\ud83dA""#, r#""\ud83d\u0041""#, r#""\ude00""#, r#""\u+123""#]
    {
        assert_eq!(say(bad), None, "{bad}");
    }
}

#[test]
fn depth_takes_no_stack() {
    let deep = [vec![b'['; 1_000_000], vec![b']'; 1_000_000]].concat();
    let mut cursor = Cursor::new(&deep);
    cursor.skip().unwrap();
    assert_eq!(cursor.left(), 0);
}
