use llmd_core::ErrorKind;
use proptest::prelude::*;

use super::*;

fn usage() -> Usage {
    Usage { prompt_tokens: Some(100), cached_tokens: None, completion_tokens: Some(7) }
}

fn value(text: &str) -> Value {
    let expression = Expression::parse(text).expect(text);
    let value = eval::eval(&expression.node, &usage()).expect(text);
    let kind = match value {
        Value::Bool(_) => Kind::Bool,
        Value::Double(_) => Kind::Double,
        Value::Int(_) => Kind::Int,
    };
    // Of `c ? 1 : 2.0`, the kind is that of both.
    assert!(kind == expression.kind() || (kind, expression.kind()) == (Kind::Int, Kind::Double), "{text}");
    value
}

#[test]
fn whole_numbers_are_reckoned_as_cel_says() {
    let table = [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 2 - 3", 5),
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("7 % 2", 1),
        ("-7 % 2", -1),
        ("--5", 5),
        ("0x1F", 31),
        ("-9223372036854775808", i64::MIN),
        ("9223372036854775807", i64::MAX),
        ("int(2.9)", 2),
        ("int(-2.9)", -2),
        ("true ? 1 : 2", 1),
        ("false ? 1 : true ? 2 : 3", 2),
        ("1 // one\n + 1", 2),
    ];
    for (text, expected) in table {
        assert_eq!(value(text), Value::Int(expected), "{text}");
    }
}

#[test]
fn doubles_are_reckoned_as_cel_says_and_draw_whole_numbers_with_them() {
    let table = [
        ("1.5 + .5", 2.0),
        ("1e3", 1000.0),
        ("2.5E-1", 0.25),
        ("1.0 / 0.0", f64::INFINITY),
        ("-(0.5)", -0.5),
        ("double(3)", 3.0),
        ("usage.prompt_tokens / 8.0", 12.5),
        // As JSON has it, a field is a double; and where a whole number meets one, it becomes one.
        ("usage.prompt_tokens / 8", 12.5),
        ("usage.prompt_tokens + 1", 101.0),
        ("usage.total_tokens - usage.completion_tokens", 100.0),
        ("(has(usage.prompt_tokens_details) ? usage.prompt_tokens_details.cached_tokens : 0) + 1.0", 1.0),
    ];
    for (text, expected) in table {
        assert_eq!(value(text), Value::Double(expected), "{text}");
    }
}

#[test]
fn conditions_are_found_out_as_cel_says() {
    let table = [
        ("1 < 2", true),
        ("2 <= 1", false),
        ("1 == 1.0", true),
        ("1 != 1", false),
        ("false < true", true),
        ("0.0 / 0.0 == 0.0 / 0.0", false),
        ("0.0 / 0.0 != 0.0 / 0.0", true),
        ("!true || !!true", true),
        ("true || false && false", true),
        ("1 + 1 == 2 && 3 > 2", true),
        ("has(usage.prompt_tokens)", true),
        ("has(usage.prompt_tokens_details.cached_tokens)", false),
        // What is decided by one side is decided, whatever the other would be: CEL's errors are absorbed both ways.
        ("false && 1 / 0 == 1", false),
        ("1 / 0 == 1 && false", false),
        ("true || 1 / 0 == 1", true),
        ("1 / 0 == 1 || true", true),
        ("true ? true : 1 / 0 == 1", true),
    ];
    for (text, expected) in table {
        assert_eq!(value(text), Value::Bool(expected), "{text}");
    }
}

#[test]
fn what_cannot_be_worked_out_is_an_error() {
    let table = [
        ("9223372036854775807 + 1", "a whole number does not fit into 64 bits"),
        ("-9223372036854775808 - 1", "a whole number does not fit into 64 bits"),
        ("9223372036854775807 * 2", "a whole number does not fit into 64 bits"),
        ("-(-9223372036854775808)", "a whole number does not fit into 64 bits"),
        ("-9223372036854775808 / -1", "a whole number does not fit into 64 bits"),
        ("-9223372036854775808 % -1", "a whole number does not fit into 64 bits"),
        ("1 / 0", "a whole number is divided by 0"),
        ("1 % 0", "a whole number is divided by 0"),
        ("int(1e19)", "number 10000000000000000000 does not fit into a whole number of 64 bits"),
        ("int(0.0 / 0.0)", "number NaN does not fit into a whole number of 64 bits"),
        ("1.0 / 0.0", "number inf does not fit into a whole number of 64 bits"),
        ("usage.prompt_tokens_details.cached_tokens", "usage.prompt_tokens_details.cached_tokens is not there"),
        ("1 / 0 == 1 || false ? 1 : 2", "a whole number is divided by 0"),
    ];
    for (text, message) in table {
        let error = Expression::parse(text).expect(text).number(&usage()).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Invalid, message.to_owned()), "{text}");
    }
}

#[test]
fn what_is_no_expression_is_refused_with_its_place() {
    let fields = "`usage.completion_tokens`, `usage.prompt_tokens`, `usage.prompt_tokens_details`, \
                  `usage.prompt_tokens_details.cached_tokens`, `usage.total_tokens`";
    let table = [
        ("", "line 1, column 1 of the expression: nothing where a value was expected".to_owned()),
        ("1 +", "line 1, column 4 of the expression: nothing where a value was expected".to_owned()),
        ("1\n+ )", "line 2, column 3 of the expression: `)` where a value was expected".to_owned()),
        ("(1", "line 1, column 3 of the expression: nothing where `)` was expected".to_owned()),
        ("1 2", "line 1, column 3 of the expression: a number where the end was expected".to_owned()),
        ("1 + true", "line 1, column 5 of the expression: a condition where a number was expected".to_owned()),
        ("1 && true", "line 1, column 1 of the expression: a whole number where a condition was expected".to_owned()),
        ("!1", "line 1, column 2 of the expression: a whole number where a condition was expected".to_owned()),
        ("-true", "line 1, column 2 of the expression: a condition where a number was expected".to_owned()),
        ("1 == true", "line 1, column 6 of the expression: a condition where a whole number was expected".to_owned()),
        ("true ? 1 : true", "line 1, column 12 of the expression: a condition where a whole number was expected".to_owned()),
        ("1.0 % 2", "line 1, column 7 of the expression: `%` of numbers that are not whole; `int()` makes them so".to_owned()),
        ("usage.tokens", format!("line 1, column 1 of the expression: `usage.tokens` where one of {fields} was expected")),
        ("usage", format!("line 1, column 1 of the expression: `usage` where one of {fields} was expected")),
        ("has(1)", "line 1, column 5 of the expression: a number where a field of `usage` was expected".to_owned()),
        ("9223372036854775808", "line 1, column 1 of the expression: a whole number that does not fit into 64 bits".to_owned()),
        ("1x", "line 1, column 2 of the expression: `x` in a number".to_owned()),
        ("1 & 2", "line 1, column 3 of the expression: `&`, which begins nothing".to_owned()),
        ("ä", "line 1, column 1 of the expression: `ä`, which begins nothing".to_owned()),
        (
            "foo",
            "line 1, column 1 of the expression: `foo` where `usage`, `has`, `int`, `double`, `true` or `false` was expected"
                .to_owned(),
        ),
    ];
    for (text, message) in table {
        let error = Expression::parse(text).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Invalid, message), "{text}");
    }
}

#[test]
fn what_cel_has_besides_is_not_supported() {
    for text in ["'a' == 'b'", "usage[\"prompt_tokens\"]", "[1]", "{}", "1u", "1 in 2"] {
        assert_eq!(Expression::parse(text).unwrap_err().kind(), ErrorKind::Unsupported, "{text}");
    }
}

#[test]
fn no_expression_is_too_deep_or_too_long_to_be_read() {
    let texts = ["(".repeat(10_000), "-".repeat(10_000) + "1", "!".repeat(10_000) + "true", "1+".repeat(10_000) + "1"];
    for text in texts {
        assert_eq!(Expression::parse(&text).unwrap_err().kind(), ErrorKind::Invalid);
    }
    let nested = "(".repeat(60) + "1" + &")".repeat(60);
    assert_eq!(value(&nested), Value::Int(1));
}

proptest! {
    /// Reading never panics, and neither does what was read.
    #[test]
    fn nothing_panics(text in "[-0-9a-z_.()+*/%<>=!&|?: ä]{0,40}") {
        if let Ok(expression) = Expression::parse(&text) {
            let _ = (expression.number(&usage()), expression.condition(&Usage::default()));
        }
    }

    /// The same, of texts that are likelier to be expressions.
    #[test]
    fn words_in_any_order_do_not_panic(words in prop::collection::vec(prop::sample::select(vec![
        "usage.prompt_tokens", "usage.total_tokens", "has(", "int(", "(", ")", "1", "0", "2.5", "+", "-", "*", "/", "%", "<",
        "==", "&&", "||", "!", "?", ":", "true", "-9223372036854775808", "9223372036854775807",
    ]), 0..12)) {
        if let Ok(expression) = Expression::parse(&words.join(" ")) {
            let _ = (expression.number(&usage()), expression.condition(&Usage::default()));
        }
    }
}
