//! The names in `\p{...}`, and their sets.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

/// General categories, except `C` and `Cs`.
#[rustfmt::skip]
const CATEGORIES: [&str; 34] = [
    "Cc", "Cf", "Co", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No", "P", "Pc", "Pd",
    "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs",
];

/// Scripts, sorted: those of Unicode 13, and the newer ones of regex-syntax. No other spelling is accepted.
#[rustfmt::skip]
const SCRIPTS: [&str; 170] = [
    "Adlam", "Ahom", "Anatolian_Hieroglyphs", "Arabic", "Armenian", "Avestan", "Balinese", "Bamum", "Bassa_Vah",
    "Batak", "Bengali", "Bhaiksuki", "Bopomofo", "Brahmi", "Braille", "Buginese", "Buhid", "Canadian_Aboriginal",
    "Carian", "Caucasian_Albanian", "Chakma", "Cham", "Cherokee", "Chorasmian", "Common", "Coptic", "Cuneiform",
    "Cypriot", "Cypro_Minoan", "Cyrillic", "Deseret", "Devanagari", "Dives_Akuru", "Dogra", "Duployan",
    "Egyptian_Hieroglyphs", "Elbasan", "Elymaic", "Ethiopic", "Garay", "Georgian", "Glagolitic", "Gothic",
    "Grantha", "Greek", "Gujarati", "Gunjala_Gondi", "Gurmukhi", "Gurung_Khema", "Han", "Hangul", "Hanifi_Rohingya",
    "Hanunoo", "Hatran", "Hebrew", "Hiragana", "Imperial_Aramaic", "Inherited", "Inscriptional_Pahlavi",
    "Inscriptional_Parthian", "Javanese", "Kaithi", "Kannada", "Katakana", "Kawi", "Kayah_Li", "Kharoshthi",
    "Khitan_Small_Script", "Khmer", "Khojki", "Khudawadi", "Kirat_Rai", "Lao", "Latin", "Lepcha", "Limbu",
    "Linear_A", "Linear_B", "Lisu", "Lycian", "Lydian", "Mahajani", "Makasar", "Malayalam", "Mandaic", "Manichaean",
    "Marchen", "Masaram_Gondi", "Medefaidrin", "Meetei_Mayek", "Mende_Kikakui", "Meroitic_Cursive",
    "Meroitic_Hieroglyphs", "Miao", "Modi", "Mongolian", "Mro", "Multani", "Myanmar", "Nabataean", "Nag_Mundari",
    "Nandinagari", "New_Tai_Lue", "Newa", "Nko", "Nushu", "Nyiakeng_Puachue_Hmong", "Ogham", "Ol_Chiki", "Ol_Onal",
    "Old_Hungarian", "Old_Italic", "Old_North_Arabian", "Old_Permic", "Old_Persian", "Old_Sogdian",
    "Old_South_Arabian", "Old_Turkic", "Old_Uyghur", "Oriya", "Osage", "Osmanya", "Pahawh_Hmong", "Palmyrene",
    "Pau_Cin_Hau", "Phags_Pa", "Phoenician", "Psalter_Pahlavi", "Rejang", "Runic", "Samaritan", "Saurashtra",
    "Sharada", "Shavian", "Siddham", "SignWriting", "Sinhala", "Sogdian", "Sora_Sompeng", "Soyombo", "Sundanese",
    "Sunuwar", "Syloti_Nagri", "Syriac", "Tagalog", "Tagbanwa", "Tai_Le", "Tai_Tham", "Tai_Viet", "Takri", "Tamil",
    "Tangsa", "Tangut", "Telugu", "Thaana", "Thai", "Tibetan", "Tifinagh", "Tirhuta", "Todhri", "Toto",
    "Tulu_Tigalari", "Ugaritic", "Vai", "Vithkuqi", "Wancho", "Warang_Citi", "Yezidi", "Yi", "Zanabazar_Square",
];

/// Returns the set of a category, a script, or `Any`.
pub(super) fn class(name: &str) -> Option<ClassUnicode> {
    match name {
        "Any" => Some(ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)])),
        // Surrogates, which no text contains.
        "Cs" => Some(ClassUnicode::empty()),
        // Without unassigned characters.
        "C" => {
            let mut class = query("gc=Cc")?;
            class.union(&query("gc=Cf")?);
            class.union(&query("gc=Co")?);
            Some(class)
        }
        _ if CATEGORIES.contains(&name) => query(&format!("gc={name}")),
        _ if SCRIPTS.binary_search(&name).is_ok() => query(&format!("sc={name}")),
        _ => None,
    }
}

/// Returns every character that differs from another only in case, and some more.
pub(super) fn cased() -> &'static ClassUnicode {
    static CASED: LazyLock<ClassUnicode> = LazyLock::new(|| {
        let everything = || ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)]);
        query("Changes_When_Casemapped").unwrap_or_else(everything)
    });
    &CASED
}

/// Looks a property up in regex-syntax.
fn query(property: &str) -> Option<ClassUnicode> {
    match regex_syntax::parse(&format!(r"\p{{{property}}}")).ok()?.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        // A set of one.
        HirKind::Literal(literal) => {
            let members = str::from_utf8(&literal.0).ok()?.chars();
            Some(ClassUnicode::new(members.map(|letter| ClassUnicodeRange::new(letter, letter))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_members() {
        for name in CATEGORIES.iter().chain(&SCRIPTS) {
            assert!(class(name).is_some_and(|class| !class.ranges().is_empty()), "{name}");
        }
        assert!(SCRIPTS.is_sorted());
    }

    #[test]
    fn every_character_that_folds_is_cased() {
        let is_cased = |letter| cased().iter().any(|range| range.start() <= letter && letter <= range.end());
        for letter in '\0'..='\u{1FFFF}' {
            let mut class = ClassUnicode::new([ClassUnicodeRange::new(letter, letter)]);
            class.try_case_fold_simple().unwrap();
            let folds = class.ranges().iter().any(|range| range.start() != letter || range.end() != letter);
            assert!(!folds || is_cased(letter), "{letter:?}");
        }
    }
}
