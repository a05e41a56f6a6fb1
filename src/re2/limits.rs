//! Depth and size of an expression, computed while it is parsed, by the rules of Go 1.19, so that the same expressions
//! are refused.

/// Maximum nesting. Capturing groups count, non-capturing groups do not.
const HEIGHT_MAX: u32 = 1000;
/// Maximum number of copies by nested counted repetitions.
const COPIES_MAX: u64 = 1000;
/// Maximum number of instructions of the compiled expression: 128 MiB of 40 bytes each.
const SIZE_MAX: u64 = (128 << 20) / 40;

/// The measures of a part of an expression.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure {
    kind: Kind,
    height: u32,
    copies: u64,
    size: u64,
    /// Whether it contains an assertion.
    pub(super) asserts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sequence,
    Alternatives,
    Other,
}

impl Measure {
    /// The measure of a literal, a class, an assertion or an empty part.
    pub(super) fn leaf(asserts: bool) -> Measure {
        Measure { kind: Kind::Other, height: 1, copies: 1, size: 1, asserts }
    }

    pub(super) fn captured(self) -> Measure {
        Measure { kind: Kind::Other, height: self.height + 1, size: self.size.saturating_add(2), ..self }
    }

    pub(super) fn repeated(self, min: u32, max: Option<u32>) -> Measure {
        let (least, most) = (u64::from(min), max.map(u64::from));
        let copies = match most {
            Some(0) => 1,
            _ => self.copies.saturating_mul(most.unwrap_or(least).max(1)),
        };
        let size = match most {
            Some(most) => most.saturating_mul(self.size).saturating_add(most.saturating_sub(least)),
            None if min == 0 => self.size.saturating_add(2),
            None => least.saturating_mul(self.size).saturating_add(1),
        };
        Measure { kind: Kind::Other, height: self.height + 1, copies, size: size.max(1), ..self }
    }

    pub(super) fn is_too_deep(&self) -> bool {
        self.height > HEIGHT_MAX
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.size > SIZE_MAX
    }

    pub(super) fn is_repeated_too_often(&self) -> bool {
        self.copies > COPIES_MAX
    }
}

/// A sequence or alternatives. A sequence in a sequence adds no depth, nor do alternatives in alternatives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Series {
    kind: Kind,
    whole: Option<Measure>,
}

impl Series {
    pub(super) fn new(kind: Kind) -> Series {
        Series { kind, whole: None }
    }

    pub(super) fn add(&mut self, part: Measure) {
        let Some(whole) = self.whole else {
            self.whole = Some(part);
            return;
        };
        let inner = |measure: &Measure| measure.height - u32::from(measure.kind == self.kind);
        let joint = u64::from(self.kind == Kind::Alternatives);
        self.whole = Some(Measure {
            kind: self.kind,
            height: inner(&whole).max(inner(&part)) + 1,
            copies: whole.copies.max(part.copies),
            size: whole.size.saturating_add(part.size).saturating_add(joint),
            asserts: whole.asserts || part.asserts,
        });
    }

    pub(super) fn finish(self) -> Measure {
        self.whole.unwrap_or_else(|| Measure::leaf(false))
    }
}
