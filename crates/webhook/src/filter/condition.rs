//! Conditions: read from JSON, written back, and asked about a click.
//!
//! A value that is not known passes neither `$eq` nor `$in` nor a comparison, and so passes `$ne` and `$nin`. A field
//! with several values (tags) passes when any of them does; `$ne` and `$nin` are always the opposite of `$eq` and `$in`.

use model::EnrichedClick;
use serde_json::{Value, json};

use super::field::{Field, Held, Kind, Operand};
use super::{FILTER_DEPTH_MAX, FILTER_TERMS_MAX, FilterError};

/// One JSON object: all of its entries must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions(Vec<Condition>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    All(Vec<Conditions>),
    Any(Vec<Conditions>),
    Not(Conditions),
    /// The short form for a list of verdicts, which is older than the language.
    Verdicts(Vec<Operand>),
    Field(Field, Vec<Test>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Equals(Operand),
    Differs(Operand),
    Among(Vec<Operand>),
    NotAmong(Vec<Operand>),
    StartsWith(String),
    Exists(bool),
    Compares(Comparison, i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// Reads conditions, and counts how many there are.
#[derive(Debug, Default)]
pub struct Reader {
    terms: usize,
}

/// A field, and what a click has there.
pub type HeldBy = (&'static str, Vec<Value>);

impl Conditions {
    /// Whether all of them hold.
    pub fn hold(&self, click: &EnrichedClick) -> bool {
        self.0.iter().all(|condition| condition.holds(click))
    }

    /// The first of them that does not hold, as it is written, and what the click has there where it asks about one field.
    pub fn refusal(&self, click: &EnrichedClick) -> Option<(Value, Option<HeldBy>)> {
        let refusing = self.0.iter().find(|condition| !condition.holds(click))?;
        match refusing {
            // the part that does not hold says more than the whole
            Condition::All(parts) => parts.iter().find_map(|part| part.refusal(click)),
            _ => {
                let field = match refusing {
                    Condition::Verdicts(_) => Some(Field::Verdict),
                    Condition::Field(field, _) => Some(*field),
                    Condition::All(_) | Condition::Any(_) | Condition::Not(_) => None,
                };
                let held = field.map(|field| (field.path(), field.values(click)));
                Some((Value::Object([refusing.entry()].into_iter().collect()), held))
            }
        }
    }

    /// As they are written; reading that again gives the same conditions.
    pub fn to_json(&self) -> Value {
        Value::Object(self.0.iter().map(Condition::entry).collect())
    }
}

impl Condition {
    fn holds(&self, click: &EnrichedClick) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.hold(click)),
            Self::Any(parts) => parts.iter().any(|part| part.hold(click)),
            Self::Not(part) => !part.hold(click),
            Self::Verdicts(wanted) => Field::Verdict.any(click, |held| is_among(wanted, held)),
            Self::Field(field, tests) => tests.iter().all(|test| test.holds(*field, click)),
        }
    }

    fn entry(&self) -> (String, Value) {
        let list = |parts: &[Conditions]| parts.iter().map(Conditions::to_json).collect::<Value>();
        match self {
            Self::All(parts) => ("$and".to_owned(), list(parts)),
            Self::Any(parts) => ("$or".to_owned(), list(parts)),
            Self::Not(part) => ("$not".to_owned(), part.to_json()),
            Self::Verdicts(wanted) => ("verdicts".to_owned(), operands(wanted)),
            Self::Field(field, tests) => {
                let value = match tests.as_slice() {
                    [Test::Equals(operand)] => operand.to_json(),
                    tests => Value::Object(tests.iter().map(Test::entry).collect()),
                };
                (field.path().to_owned(), value)
            }
        }
    }
}

impl Test {
    fn holds(&self, field: Field, click: &EnrichedClick) -> bool {
        match self {
            Self::Equals(operand) => field.any(click, |held| *operand == held),
            Self::Differs(operand) => !field.any(click, |held| *operand == held),
            Self::Among(operands) => field.any(click, |held| is_among(operands, held)),
            Self::NotAmong(operands) => !field.any(click, |held| is_among(operands, held)),
            Self::StartsWith(beginning) => {
                field.any(click, |held| matches!(held, Held::Text(text) if text.starts_with(beginning)))
            }
            Self::Exists(wanted) => field.any(click, |_| true) == *wanted,
            Self::Compares(comparison, bound) => field
                .any(click, |held| matches!(held, Held::Number(number) if comparison.holds(number, *bound))),
        }
    }

    fn entry(&self) -> (String, Value) {
        let (operator, value) = match self {
            Self::Equals(operand) => ("$eq", operand.to_json()),
            Self::Differs(operand) => ("$ne", operand.to_json()),
            Self::Among(list) => ("$in", operands(list)),
            Self::NotAmong(list) => ("$nin", operands(list)),
            Self::StartsWith(beginning) => ("$startsWith", json!(beginning)),
            Self::Exists(wanted) => ("$exists", json!(wanted)),
            Self::Compares(comparison, bound) => (comparison.operator(), json!(bound)),
        };
        (operator.to_owned(), value)
    }
}

impl Comparison {
    const fn operator(self) -> &'static str {
        match self {
            Self::Above => "$gt",
            Self::AtLeast => "$gte",
            Self::Below => "$lt",
            Self::AtMost => "$lte",
        }
    }

    const fn holds(self, number: i64, bound: i64) -> bool {
        match self {
            Self::Above => number > bound,
            Self::AtLeast => number >= bound,
            Self::Below => number < bound,
            Self::AtMost => number <= bound,
        }
    }
}

fn is_among(operands: &[Operand], held: Held<'_>) -> bool {
    operands.iter().any(|operand| *operand == held)
}

fn operands(list: &[Operand]) -> Value {
    list.iter().map(Operand::to_json).collect()
}

impl Reader {
    /// Reads one object; `depth` operators stand around it.
    ///
    /// # Errors
    /// [`FilterError`] with the path from this object.
    pub fn conditions(&mut self, value: &Value, depth: usize) -> Result<Conditions, FilterError> {
        if depth > FILTER_DEPTH_MAX {
            let rule =
                format!("must not be nested deeper than {FILTER_DEPTH_MAX} of `$and`, `$or` and `$not`");
            return Err(FilterError::new(rule));
        }
        let object = value.as_object().ok_or_else(|| {
            FilterError::new(
                "must be an object of conditions, like {\"location.country\": {\"$in\": [\"SE\", \"NO\"]}}",
            )
        })?;
        if object.is_empty() && depth > 0 {
            return Err(FilterError::new("must have at least one condition"));
        }
        let read = |(key, value): (&String, &Value)| {
            self.condition(key, value, depth).map_err(|error| error.within(key))
        };
        object.iter().map(read).collect::<Result<_, _>>().map(Conditions)
    }

    fn condition(&mut self, key: &str, value: &Value, depth: usize) -> Result<Condition, FilterError> {
        match key {
            "$and" => self.parts(value, depth).map(Condition::All),
            "$or" => self.parts(value, depth).map(Condition::Any),
            "$not" => self.conditions(value, depth + 1).map(Condition::Not),
            "verdicts" => self.list(Field::Verdict.kind(), value).map(Condition::Verdicts),
            operator if operator.starts_with('$') => Err(FilterError::new(
                "is not an operator between conditions; there are `$and`, `$or` and `$not`",
            )),
            path => match Field::at(path) {
                Some(field) => Ok(Condition::Field(field, self.tests(field.kind(), value)?)),
                None => {
                    let rule = format!("is not a field; there are {} and `verdicts`", Field::paths());
                    Err(FilterError::new(rule))
                }
            },
        }
    }

    fn parts(&mut self, value: &Value, depth: usize) -> Result<Vec<Conditions>, FilterError> {
        let parts = filled(value, "must be a list of at least one object of conditions")?;
        let read = |(at, part)| self.conditions(part, depth + 1).map_err(|error| error.within(at));
        parts.iter().enumerate().map(read).collect()
    }

    fn tests(&mut self, kind: Kind, value: &Value) -> Result<Vec<Test>, FilterError> {
        match value {
            Value::Object(tests) if tests.is_empty() => {
                Err(FilterError::new("must have at least one operator"))
            }
            Value::Object(tests) => {
                let read = |(operator, value): (&String, &Value)| {
                    self.test(kind, operator, value).map_err(|error| error.within(operator))
                };
                tests.iter().map(read).collect()
            }
            Value::Array(_) => {
                Err(FilterError::new("must be a value or operators; for one of several write {\"$in\": […]}"))
            }
            Value::Null => {
                Err(FilterError::new("must not be null; for what is not known write {\"$exists\": false}"))
            }
            value => Ok(vec![Test::Equals(self.operand(kind, value)?)]),
        }
    }

    fn test(&mut self, kind: Kind, operator: &str, value: &Value) -> Result<Test, FilterError> {
        if !kind.operators().contains(&operator) {
            let rule =
                format!("is not an operator of this field; there are `{}`", kind.operators().join("`, `"));
            return Err(FilterError::new(rule));
        }
        let compares = |comparison, operand| match operand {
            Operand::Number(bound) => Ok(Test::Compares(comparison, bound)),
            Operand::Text(_) | Operand::Truth(_) => Err(FilterError::new("must be a whole number")),
        };
        match operator {
            "$eq" => self.operand(kind, value).map(Test::Equals),
            "$ne" => self.operand(kind, value).map(Test::Differs),
            "$in" => self.list(kind, value).map(Test::Among),
            "$nin" => self.list(kind, value).map(Test::NotAmong),
            "$startsWith" => match self.operand(Kind::Text, value)? {
                Operand::Text(beginning) => Ok(Test::StartsWith(beginning)),
                Operand::Number(_) | Operand::Truth(_) => Err(FilterError::new("must be a string")),
            },
            "$exists" => {
                self.count()?;
                value.as_bool().map(Test::Exists).ok_or_else(|| FilterError::new("must be true or false"))
            }
            "$gt" => compares(Comparison::Above, self.operand(kind, value)?),
            "$gte" => compares(Comparison::AtLeast, self.operand(kind, value)?),
            "$lt" => compares(Comparison::Below, self.operand(kind, value)?),
            _ => compares(Comparison::AtMost, self.operand(kind, value)?),
        }
    }

    fn list(&mut self, kind: Kind, value: &Value) -> Result<Vec<Operand>, FilterError> {
        let values = filled(value, "must be a list of at least one value")?;
        let read = |(at, value)| self.operand(kind, value).map_err(|error| error.within(at));
        values.iter().enumerate().map(read).collect()
    }

    fn operand(&mut self, kind: Kind, value: &Value) -> Result<Operand, FilterError> {
        self.count()?;
        kind.operand(value)
    }

    fn count(&mut self) -> Result<(), FilterError> {
        self.terms += 1;
        if self.terms > FILTER_TERMS_MAX {
            return Err(FilterError::new(format!(
                "the filter makes more than {FILTER_TERMS_MAX} comparisons"
            )));
        }
        Ok(())
    }
}

fn filled<'a>(value: &'a Value, rule: &str) -> Result<&'a [Value], FilterError> {
    match value.as_array() {
        Some(list) if !list.is_empty() => Ok(list),
        _ => Err(FilterError::new(rule)),
    }
}
