//! What strings of rules cost in memory when they are compiled, computed from their text: the verdict is the same on every machine,
//! and is known before anything is compiled.
//!
//! One unit is about one state of an automaton, or one byte of a literal. It is an estimate from above for what can grow far
//! beyond its text: repetitions in repetitions, jumps, keys of `xor`, cases.

use boreal_parser::hex_string::Token;
use boreal_parser::regex::{ClassKind, Node, RepetitionKind, RepetitionRange};
use boreal_parser::rule::{VariableDeclaration, VariableDeclarationValue, VariableModifiers};

/// The cost of one string.
pub(super) fn of(string: &VariableDeclaration) -> u64 {
    let modifiers = &string.modifiers;
    match &string.value {
        VariableDeclarationValue::Bytes(bytes) => of_text(bytes.len() as u64, modifiers),
        VariableDeclarationValue::Regex(regex) => of_automata(of_node(&regex.ast), modifiers),
        VariableDeclarationValue::HexString(tokens) => of_automata(of_tokens(tokens), modifiers),
    }
}

/// The cost of the sets in a condition (`any of them`, `all of ($a*)`, `any of (rule*)`) of a rule with so many strings behind so many
/// rules: each is a list of what is in it. What only looks like a set counts too.
pub(super) fn of_sets(condition: &str, strings: usize, rules: usize) -> u64 {
    /// Of the indexes in the lists.
    const IN_A_UNIT: u64 = 10;
    let of_strings = condition.matches("them").count() + condition.matches('*').count();
    let of_rules = condition.match_indices('*').filter(|(at, _)| {
        let before = condition[..*at].trim_end_matches(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
        before.len() < *at && !before.ends_with('$')
    });
    (of_strings as u64 * strings as u64 + of_rules.count() as u64 * rules as u64) / IN_A_UNIT
}

/// Each variant of a text is a literal, and has places in the table that finds them.
fn of_text(bytes: u64, modifiers: &VariableModifiers) -> u64 {
    const ENTRY: u64 = 4;
    // Up to four bytes of a literal are looked for; each may be a letter.
    let cases = if modifiers.nocase { 16 } else { 1 };
    let keys = modifiers.xor.map_or(1, |(first, last)| u64::from(last.saturating_sub(first)) + 1);
    let offsets = if modifiers.base64.is_some() { 3 } else { 1 };
    (widths(modifiers) * bytes + ENTRY * cases) * keys * offsets
}

/// An expression is compiled forwards and backwards.
fn of_automata(states: u64, modifiers: &VariableModifiers) -> u64 {
    states.saturating_mul(2 * widths(modifiers))
}

/// Wide characters have two bytes.
fn widths(modifiers: &VariableModifiers) -> u64 {
    u64::from(modifiers.ascii || !modifiers.wide) + 2 * u64::from(modifiers.wide)
}

fn of_node(node: &Node) -> u64 {
    /// A class has more than one range.
    const CLASS: u64 = 4;
    match node {
        Node::Alternation(nodes) | Node::Concat(nodes) => {
            nodes.iter().fold(1, |sum: u64, node| sum.saturating_add(of_node(node)))
        }
        Node::Class(ClassKind::Perl(_)) => CLASS,
        Node::Class(ClassKind::Bracketed(class)) => class.items.len() as u64 + 1,
        Node::Char(_) => CLASS,
        Node::Assertion(_) | Node::Dot | Node::Empty | Node::Literal(_) => 1,
        Node::Group(node) => of_node(node).saturating_add(1),
        Node::Repetition { node, kind, .. } => {
            let times = match kind {
                RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => 2,
                RepetitionKind::Range(RepetitionRange::Exactly(times) | RepetitionRange::Bounded(_, times)) => {
                    u64::from(*times) + 1
                }
                RepetitionKind::Range(RepetitionRange::AtLeast(times)) => u64::from(*times) + 1,
            };
            // Beside the node itself, a choice to go on.
            of_node(node).saturating_add(1).saturating_mul(times)
        }
    }
}

fn of_tokens(tokens: &[Token]) -> u64 {
    let token = |token: &Token| match token {
        Token::Byte(_) => 1,
        Token::NotByte(_) | Token::MaskedByte(..) | Token::NotMaskedByte(..) => 4,
        Token::Jump(jump) => 2 * (u64::from(jump.to.unwrap_or(jump.from)) + 1),
        Token::Alternatives(lists) => lists.iter().fold(1, |sum: u64, list| sum.saturating_add(of_tokens(list))),
    };
    tokens.iter().map(token).fold(0, u64::saturating_add)
}
