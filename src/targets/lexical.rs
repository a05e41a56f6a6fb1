//! Parses text into sqlparser's syntax tree, and accepts only basic SQL tokens.
//!
//! The tokens are checked against an allow-list before they are parsed: syntax that the tokenizer may read differently
//! from PostgreSQL (escape strings, dollar quotes, comments, custom operators) never reaches the parser.

use sqlparser::ast::Expr;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace, Word};

use super::error::{TargetError, excerpt};
use super::limits::{DEPTH_MAX, PARSER_DEPTH_MAX, TEXT_BYTES_MAX, TOKENS_MAX};

/// Parses a text that is one expression.
pub(super) fn parse(text: &str) -> Result<Expr, TargetError> {
    check_text(text)?;
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
        .tokenize_with_location()
        .map_err(|error| TargetError::Syntax { message: error.to_string() })?;
    check_tokens(&tokens)?;
    let mut parser =
        Parser::new(&PostgreSqlDialect {}).with_recursion_limit(PARSER_DEPTH_MAX).with_tokens_with_locations(tokens);
    let expression = parser.parse_expr().map_err(syntax)?;
    match parser.next_token().token {
        Token::EOF => Ok(expression),
        rest => Err(TargetError::not_allowed(&rest, "text after the condition is not allowed")),
    }
}

fn syntax(error: ParserError) -> TargetError {
    match error {
        ParserError::RecursionLimitExceeded => TargetError::TooDeep,
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => TargetError::Syntax { message },
    }
}

fn check_text(text: &str) -> Result<(), TargetError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(TargetError::TooLong { bytes: text.len() });
    }
    if text.trim().is_empty() {
        return Err(TargetError::Empty);
    }
    let is_refused = |character: char| character.is_control() && !matches!(character, '\t' | '\n' | '\r');
    match text.char_indices().find(|(_, character)| is_refused(*character)) {
        Some((position, character)) => Err(TargetError::ControlCharacter { character, position }),
        None => Ok(()),
    }
}

fn check_tokens(tokens: &[TokenWithSpan]) -> Result<(), TargetError> {
    let mut count = 0;
    let mut depth = 0_usize;
    let mut after_string = false;
    for token in tokens.iter().map(|token| &token.token) {
        if is_blank(token) {
            continue;
        }
        if let Some(help) = refusal(token) {
            return Err(TargetError::not_allowed(token, help));
        }
        let is_string = matches!(token, Token::SingleQuotedString(_));
        if is_string && after_string {
            return Err(TargetError::not_allowed(token, "two strings in a row: put both into one pair of quotes"));
        }
        after_string = is_string;
        count += 1;
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(TargetError::TooDeep);
        }
    }
    if count > TOKENS_MAX {
        return Err(TargetError::TooManyParts);
    }
    Ok(())
}

fn is_blank(token: &Token) -> bool {
    matches!(token, Token::Whitespace(Whitespace::Space | Whitespace::Newline | Whitespace::Tab))
}

/// Returns why a token is refused; `None` if it is accepted.
fn refusal(token: &Token) -> Option<&'static str> {
    Some(match token {
        Token::Word(Word { quote_style: None | Some('"'), .. })
        | Token::Number(_, false)
        | Token::SingleQuotedString(_)
        | Token::Comma
        | Token::Eq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq
        | Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::LParen
        | Token::RParen
        | Token::Period
        | Token::DoubleColon
        | Token::Tilde
        | Token::TildeAsterisk
        | Token::ExclamationMarkTilde
        | Token::ExclamationMarkTildeAsterisk
        | Token::Arrow
        | Token::LongArrow
        | Token::HashArrow
        | Token::HashLongArrow
        | Token::EOF => return None,
        Token::SemiColon => "a target is one condition, not a list of statements",
        Token::Whitespace(_) => "comments are not allowed",
        Token::Placeholder(_) | Token::Colon | Token::Question => "parameters are not allowed, write the value",
        Token::LBracket | Token::RBracket => "arrays are not allowed, use -> with a number to index into json",
        Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::SingleQuotedByteStringLiteral(_)
        | Token::DollarQuotedString(_) => "write strings in plain single quotes, like 'online'",
        _ => {
            "values, columns, parentheses and the operators = <> < <= > >= + - * / ~ ~* !~ !~* -> ->> #> #>> :: are allowed"
        }
    })
}

/// Returns the name of an identifier: unchanged if quoted, else in lower case, as PostgreSQL folds it.
pub(super) fn name(identifier: &sqlparser::ast::Ident) -> Result<String, TargetError> {
    let help = "use plain names".to_owned();
    match identifier.quote_style {
        _ if identifier.value.is_empty() => Err(TargetError::UnknownColumn { name: excerpt(identifier), help }),
        None => Ok(identifier.value.to_ascii_lowercase()),
        Some('"') => Ok(identifier.value.clone()),
        Some(_) => Err(TargetError::UnknownColumn { name: excerpt(identifier), help }),
    }
}
