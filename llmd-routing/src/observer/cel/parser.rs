//! The grammar, and which kinds fit: recursive descent, in CEL's order of precedence.

use llmd_core::{Error, Result};

use super::lexer::{Placed, Token, invalid, lex, unsupported};
use super::{Comparison, Field, Kind, Node, Operator};

/// How many words an expression may have, which bounds how deep any part of it lies.
const MAX_WORDS: usize = 1024;

/// How deep parentheses and the like may be, which CEL wants to be 12 at least.
const MAX_DEPTH: usize = 64;

type Typed = (Node, Kind);

/// The expression that all of `text` is.
pub(super) fn parse(text: &str) -> Result<Typed> {
    let mut parser = Parser { text, tokens: lex(text)?, next: 0, depth: 0 };
    if let Some(first) = parser.tokens.get(MAX_WORDS) {
        return Err(invalid(text, first.at, &format!("an expression of more than {MAX_WORDS} words")));
    }
    let typed = parser.choice()?;
    match parser.peek() {
        Token::End => Ok(typed),
        _ => Err(parser.unexpected("the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Placed<'a>>,
    next: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// `c ? a : b`, or less. What is nested is counted here, since every nesting comes by here.
    fn choice(&mut self) -> Result<Typed> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(invalid(self.text, self.at(), "an expression that is nested too deeply"));
        }
        let at = self.at();
        let mut chosen = self.or()?;
        if self.takes("?") {
            let condition = self.condition(chosen, at)?;
            let then = self.or()?;
            self.expect(":")?;
            let at = self.at();
            let other = self.choice()?;
            let kind = match (then.1, other.1) {
                (one, another) if one == another => one,
                (Kind::Bool, _) | (_, Kind::Bool) => {
                    return Err(invalid(self.text, at, &format!("{} where {} was expected", other.1, then.1)));
                }
                _ => Kind::Double,
            };
            chosen = (Node::Choose(condition, Box::new(then.0), Box::new(other.0)), kind);
        }
        self.depth -= 1;
        Ok(chosen)
    }

    fn or(&mut self) -> Result<Typed> {
        self.conditions("||", Self::and, Node::Or)
    }

    fn and(&mut self) -> Result<Typed> {
        self.conditions("&&", Self::relation, Node::And)
    }

    /// Conditions with `symbol` between them.
    fn conditions(
        &mut self,
        symbol: &str,
        part: fn(&mut Self) -> Result<Typed>,
        both: fn(Box<Node>, Box<Node>) -> Node,
    ) -> Result<Typed> {
        let at = self.at();
        let mut left = part(self)?;
        while self.takes(symbol) {
            let first = self.condition(left, at)?;
            let at = self.at();
            let second = part(self)?;
            left = (both(first, self.condition(second, at)?), Kind::Bool);
        }
        Ok(left)
    }

    fn relation(&mut self) -> Result<Typed> {
        const COMPARISONS: [(&str, Comparison); 6] = [
            ("<", Comparison::Less),
            ("<=", Comparison::LessOrEqual),
            (">", Comparison::Greater),
            (">=", Comparison::GreaterOrEqual),
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
        ];
        let mut left = self.sum()?;
        while let Some(comparison) = self.one_of(&COMPARISONS) {
            let at = self.at();
            let right = self.sum()?;
            if (left.1 == Kind::Bool) != (right.1 == Kind::Bool) {
                return Err(invalid(self.text, at, &format!("{} where {} was expected", right.1, left.1)));
            }
            left = (Node::Compare(comparison, Box::new(left.0), Box::new(right.0)), Kind::Bool);
        }
        if self.peek() == Token::Name("in") {
            return Err(unsupported(self.text, self.at(), "text, lists and maps"));
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Typed> {
        self.arithmetic(&[("+", Operator::Add), ("-", Operator::Subtract)], Self::product)
    }

    fn product(&mut self) -> Result<Typed> {
        const OPERATORS: [(&str, Operator); 3] =
            [("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)];
        self.arithmetic(&OPERATORS, Self::unary)
    }

    /// Numbers with operators between them.
    fn arithmetic(
        &mut self,
        operators: &[(&'static str, Operator)],
        part: fn(&mut Self) -> Result<Typed>,
    ) -> Result<Typed> {
        let at = self.at();
        let mut left = part(self)?;
        while let Some(operator) = self.one_of(operators) {
            self.number(&left, at)?;
            let at = self.at();
            let right = part(self)?;
            self.number(&right, at)?;
            let kind = if left.1 == Kind::Int && right.1 == Kind::Int { Kind::Int } else { Kind::Double };
            if operator == Operator::Remainder && kind == Kind::Double {
                return Err(invalid(self.text, at, "`%` of numbers that are not whole; `int()` makes them so"));
            }
            left = (Node::Arithmetic(operator, Box::new(left.0), Box::new(right.0)), kind);
        }
        Ok(left)
    }

    /// Any number of `!` or of `-`, and what they are before.
    fn unary(&mut self) -> Result<Typed> {
        let (mut nots, mut minuses) = (0, 0);
        while self.takes("!") {
            nots += 1;
        }
        while nots == 0 && self.peek() == Token::Symbol("-") {
            self.next += 1;
            minuses += 1;
        }
        if minuses > 0 && self.peek() == Token::MinInt {
            self.next += 1;
            return Ok((negated(Node::Int(i64::MIN), minuses - 1), Kind::Int));
        }
        let at = self.at();
        let (node, kind) = self.member()?;
        if nots > 0 {
            let condition = self.condition((node, kind), at)?;
            return Ok(((0..nots).fold(*condition, |node, _| Node::Not(Box::new(node))), Kind::Bool));
        }
        if minuses > 0 {
            self.number(&(Node::Bool(false), kind), at)?;
        }
        Ok((negated(node, minuses), kind))
    }

    fn member(&mut self) -> Result<Typed> {
        let at = self.at();
        match self.peek() {
            Token::Int(number) => self.taken((Node::Int(number), Kind::Int)),
            Token::Double(number) => self.taken((Node::Double(number), Kind::Double)),
            Token::Name("true") => self.taken((Node::Bool(true), Kind::Bool)),
            Token::Name("false") => self.taken((Node::Bool(false), Kind::Bool)),
            Token::Name("usage") => {
                let field = self.field()?;
                if field == Field::PromptTokensDetails {
                    return Err(invalid(self.text, at, "an object where a number was expected"));
                }
                Ok((Node::Field(field), Kind::Double))
            }
            Token::Name("has") => {
                self.opens()?;
                let field = self.field()?;
                self.expect(")")?;
                Ok((Node::Has(field), Kind::Bool))
            }
            Token::Name(name @ ("double" | "int")) => {
                self.opens()?;
                let at = self.at();
                let inner = self.choice()?;
                self.number(&inner, at)?;
                self.expect(")")?;
                let inner = Box::new(inner.0);
                Ok(if name == "int" { (Node::ToInt(inner), Kind::Int) } else { (Node::ToDouble(inner), Kind::Double) })
            }
            Token::Name(name) => {
                let message = format!("`{name}` where `usage`, `has`, `int`, `double`, `true` or `false` was expected");
                Err(invalid(self.text, at, &message))
            }
            Token::Symbol("(") => {
                self.next += 1;
                let inner = self.choice()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::MinInt => Err(invalid(self.text, at, "a whole number that does not fit into 64 bits")),
            Token::Symbol(_) | Token::End => Err(self.unexpected("a value")),
        }
    }

    /// `usage.x`.
    fn field(&mut self) -> Result<Field> {
        let at = self.at();
        if self.peek() != Token::Name("usage") {
            return Err(self.unexpected("a field of `usage`"));
        }
        self.next += 1;
        let mut path = String::new();
        while self.takes(".") {
            let Token::Name(name) = self.peek() else { return Err(self.unexpected("the name of a field")) };
            self.next += 1;
            path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        }
        let found = Field::PATHS.iter().find(|(known, _)| *known == path).map(|&(_, field)| field);
        found.ok_or_else(|| {
            let known: Vec<_> = Field::PATHS.iter().map(|(known, _)| format!("`usage.{known}`")).collect();
            let asked = if path.is_empty() { "usage".to_owned() } else { format!("usage.{path}") };
            invalid(self.text, at, &format!("`{asked}` where one of {} was expected", known.join(", ")))
        })
    }

    fn condition(&self, (node, kind): Typed, at: usize) -> Result<Box<Node>> {
        match kind {
            Kind::Bool => Ok(Box::new(node)),
            Kind::Double | Kind::Int => Err(self.mismatch(kind, Kind::Bool, at)),
        }
    }

    fn number(&self, (_, kind): &Typed, at: usize) -> Result<()> {
        match kind {
            Kind::Bool => Err(self.mismatch(Kind::Bool, Kind::Double, at)),
            Kind::Double | Kind::Int => Ok(()),
        }
    }

    fn mismatch(&self, found: Kind, expected: Kind, at: usize) -> Error {
        invalid(self.text, at, &format!("{found} where {expected} was expected"))
    }

    fn unexpected(&self, expected: &str) -> Error {
        let found = match self.peek() {
            Token::End => "nothing".to_owned(),
            Token::Symbol(symbol) => format!("`{symbol}`"),
            Token::Name(name) => format!("`{name}`"),
            Token::Double(_) | Token::Int(_) | Token::MinInt => "a number".to_owned(),
        };
        invalid(self.text, self.at(), &format!("{found} where {expected} was expected"))
    }

    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.next).map_or(Token::End, |placed| placed.token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.text.len(), |placed| placed.at)
    }

    /// Goes on when `symbol` is next.
    fn takes(&mut self, symbol: &str) -> bool {
        let taken = matches!(self.peek(), Token::Symbol(next) if next == symbol);
        self.next += usize::from(taken);
        taken
    }

    fn expect(&mut self, symbol: &str) -> Result<()> {
        if self.takes(symbol) { Ok(()) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    /// Goes on behind a name and the parenthesis after it.
    fn opens(&mut self) -> Result<()> {
        self.next += 1;
        self.expect("(")
    }

    fn one_of<T: Copy>(&mut self, symbols: &[(&str, T)]) -> Option<T> {
        symbols.iter().find(|(symbol, _)| self.takes(symbol)).map(|&(_, meaning)| meaning)
    }

    #[expect(clippy::unnecessary_wraps, reason = "it ends a branch of those that can fail")]
    fn taken(&mut self, typed: Typed) -> Result<Typed> {
        self.next += 1;
        Ok(typed)
    }
}

fn negated(node: Node, times: usize) -> Node {
    (0..times).fold(node, |node, _| Node::Negate(Box::new(node)))
}
