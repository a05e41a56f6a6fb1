//! Type conversion: a string literal takes the type of its context, a cast the one it names.

use std::fmt::Display;

use sqlparser::ast::{DataType, ExactNumberInfo, TimezoneInfo};

use super::error::TargetError;
use super::expression::{CastTarget, Expression, Literal};
use super::interval::{DAY, Interval};
use super::time;
use super::types::Type;

/// A checked expression and its type.
pub(super) struct Typed {
    pub(super) expression: Expression,
    pub(super) kind: Type,
}

impl Typed {
    pub(super) fn new(expression: Expression, kind: Type) -> Typed {
        Typed { expression, kind }
    }

    /// Converts the expression to the type that an operand must have.
    pub(super) fn into_type(self, wanted: Type, piece: &dyn Display) -> Result<Expression, TargetError> {
        match (self.kind, self.expression) {
            (Type::Unknown, Expression::Literal(Literal::Text(text))) => {
                literal(&text, wanted).map(Expression::Literal)
            }
            (kind, expression) if kind == Type::Unknown || kind == wanted => Ok(expression),
            (kind, expression) if kind.is_numeric() && wanted == Type::Number => Ok(expression),
            (kind, _) => {
                Err(TargetError::types(piece, format!("{} is needed here, but this is {}", wanted.name(), kind.name())))
            }
        }
    }
}

/// Returns the common type of all operands of a comparison.
pub(super) fn common_type<'a>(
    operands: impl IntoIterator<Item = &'a Typed>,
    piece: &dyn Display,
) -> Result<Type, TargetError> {
    let mut common = Type::Unknown;
    for operand in operands {
        common = match (common, operand.kind) {
            (one, Type::Unknown) => one,
            (Type::Unknown, other) => other,
            (one, other) if one == other => one,
            (one, other) if one.is_numeric() && other.is_numeric() => Type::Number,
            (one, other) => {
                let (one, other) = (one.name(), other.name());
                let help =
                    format!("{one} can't be compared with {other}, put a cast such as ::text or ::int on one side");
                return Err(TargetError::types(piece, help));
            }
        };
    }
    match common {
        Type::Json => Err(TargetError::types(piece, "json can't be compared, extract a text with ->> first")),
        Type::Unknown => Ok(Type::Text),
        known => Ok(known),
    }
}

/// Converts a string literal to a type.
fn literal(text: &str, wanted: Type) -> Result<Literal, TargetError> {
    Ok(match wanted {
        Type::Boolean => Literal::Boolean(parse_boolean(text)?),
        Type::Integer => Literal::Integer(parse_integer(text)?),
        Type::Number => number(text.trim()).ok_or_else(|| not_a_number(text))?,
        Type::Text | Type::Unknown => Literal::Text(text.to_owned()),
        Type::Time => Literal::Time(time::parse(text)?),
        Type::Interval => Literal::Interval(Interval::parse(text)?),
        Type::Json => {
            let help = "extract a text from the json with ->> and compare that";
            return Err(TargetError::literal(text, "json to compare with", help));
        }
    })
}

/// Parses a number in the form that both databases read: `12`, `1.5`, `1e3`; no sign.
pub(super) fn number(text: &str) -> Option<Literal> {
    if let Ok(integer) = text.parse::<i64>() {
        return Some(Literal::Integer(integer));
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.len() <= 19 && part.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let is_integer = whole == text;
    let is_plain = is_digits(whole) && is_digits(fraction) && is_digits(exponent_digits) && exponent_digits.len() <= 2;
    (is_plain && !is_integer).then(|| Literal::Number(text.to_owned()))
}

fn not_a_number(text: &str) -> TargetError {
    TargetError::literal(text, "a number", "write it like 12, 1.5 or 1e3")
}

/// Converts text to boolean like PostgreSQL: any case, unique prefixes of true, false, yes, no, on, off; 1 and 0.
pub(super) fn parse_boolean(text: &str) -> Result<bool, TargetError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "t" | "tr" | "tru" | "true" | "y" | "ye" | "yes" | "on" | "1" => Ok(true),
        "f" | "fa" | "fal" | "fals" | "false" | "n" | "no" | "of" | "off" | "0" => Ok(false),
        _ => Err(TargetError::literal(text, "a boolean", "write true or false")),
    }
}

/// Converts text to bigint like PostgreSQL.
pub(super) fn parse_integer(text: &str) -> Result<i64, TargetError> {
    text.trim()
        .parse::<i64>()
        .map_err(|_| TargetError::literal(text, "an integer", "write digits, in the range of 64-bit integers"))
}

/// Converts text to numeric like PostgreSQL, as the 64-bit float that SQLite computes with.
pub(super) fn parse_number(text: &str) -> Result<f64, TargetError> {
    let number = text.trim().parse::<f64>().map_err(|_| not_a_number(text))?;
    if number.is_finite() { Ok(number) } else { Err(not_a_number(text)) }
}

/// Returns the cast for a type name.
pub(super) fn cast_target(data_type: &DataType) -> Result<CastTarget, TargetError> {
    Ok(match data_type {
        DataType::Text | DataType::Varchar(None) => CastTarget::Text,
        DataType::Int(None)
        | DataType::Integer(None)
        | DataType::BigInt(None)
        | DataType::Int4(None)
        | DataType::Int8(None) => CastTarget::Integer,
        DataType::Numeric(ExactNumberInfo::None) | DataType::Real | DataType::DoublePrecision => CastTarget::Number,
        DataType::Boolean | DataType::Bool => CastTarget::Boolean,
        DataType::Timestamp(None, TimezoneInfo::None | TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
            CastTarget::Time
        }
        DataType::Date => CastTarget::Date,
        DataType::Interval { fields: None, precision: None } => CastTarget::Interval,
        DataType::JSON | DataType::JSONB => CastTarget::Json,
        _ => {
            let help = "casts go to text, varchar, int, bigint, numeric, real, double precision, boolean, timestamp, \
                        timestamptz, date, interval, json and jsonb, without a length";
            return Err(TargetError::not_allowed(&format_args!("the type {data_type}"), help));
        }
    })
}

/// Applies a cast: to literals immediately, to other expressions if both databases support it in the same way.
pub(super) fn cast(operand: Typed, to: CastTarget, piece: &dyn Display) -> Result<Typed, TargetError> {
    let wanted = result_type(to);
    match (operand.kind, operand.expression, to) {
        (Type::Unknown, Expression::Literal(Literal::Null), _) => {
            Ok(Typed::new(Expression::Literal(Literal::Null), wanted))
        }
        (Type::Unknown, Expression::Literal(Literal::Text(text)), CastTarget::Json) => Err(TargetError::literal(
            &text,
            "allowed as json",
            "extract a text from the json with ->> and compare that",
        )),
        (Type::Unknown, Expression::Literal(Literal::Text(text)), CastTarget::Date) => {
            let start_of_day = time::parse(&text)?.div_euclid(DAY) * DAY;
            Ok(Typed::new(Expression::Literal(Literal::Time(start_of_day)), wanted))
        }
        (Type::Unknown, Expression::Literal(Literal::Text(text)), _) => {
            literal(&text, wanted).map(|literal| Typed::new(Expression::Literal(literal), wanted))
        }
        (Type::Time, expression @ Expression::Cast { to: CastTarget::Date, .. }, CastTarget::Date) => {
            Ok(Typed::new(expression, wanted))
        }
        (kind, expression, _) if kind == wanted && to != CastTarget::Date => Ok(Typed::new(expression, wanted)),
        (Type::Text, expression, CastTarget::Date) => {
            let time = Expression::Cast { operand: Box::new(expression), from: Type::Text, to: CastTarget::Time };
            cast(Typed::new(time, Type::Time), to, piece)
        }
        (from, expression, _) if is_castable(from, to) => {
            Ok(Typed::new(Expression::Cast { operand: Box::new(expression), from, to }, wanted))
        }
        (from, _, _) => Err(TargetError::types(piece, format!("{} can't be cast to {}", from.name(), wanted.name()))),
    }
}

fn result_type(to: CastTarget) -> Type {
    match to {
        CastTarget::Boolean => Type::Boolean,
        CastTarget::Integer => Type::Integer,
        CastTarget::Number => Type::Number,
        CastTarget::Text => Type::Text,
        CastTarget::Time | CastTarget::Date => Type::Time,
        CastTarget::Interval => Type::Interval,
        CastTarget::Json => Type::Json,
    }
}

/// Whether a cast between different types has the same result in both databases.
fn is_castable(from: Type, to: CastTarget) -> bool {
    match to {
        CastTarget::Boolean => from == Type::Text,
        CastTarget::Integer => matches!(from, Type::Text | Type::Number),
        CastTarget::Number => matches!(from, Type::Text | Type::Integer),
        CastTarget::Text => matches!(from, Type::Boolean | Type::Integer | Type::Json),
        CastTarget::Time => from == Type::Text,
        CastTarget::Date => from == Type::Time,
        CastTarget::Interval => false,
        CastTarget::Json => from == Type::Text,
    }
}
