use super::*;
use proptest::prelude::*;
use std::process::Command;

/// Whether dpkg, or rpm, says the same; none if it is not installed or refuses a version.
fn dpkg_says(a: &str, b: &str) -> Ordering {
    let is = |operator: &str| {
        Command::new("dpkg").args(["--compare-versions", a, operator, b]).status().expect("dpkg").code() == Some(0)
    };
    match (is("lt"), is("eq")) {
        (true, _) => Ordering::Less,
        (_, true) => Ordering::Equal,
        _ => Ordering::Greater,
    }
}

/// What rpm says of many pairs.
fn rpm_says(pairs: &[(String, String)]) -> Vec<Ordering> {
    let mut script = String::new();
    for (a, b) in pairs {
        script.push_str(&format!("print(rpm.vercmp('{a}', '{b}'))\n"));
    }
    let printed = Command::new("rpm").args(["--eval", &format!("%{{lua:{script}}}")]).output().expect("package rpm");
    let printed = String::from_utf8(printed.stdout).unwrap();
    // rpm's print() of one macro writes no newline: each is -1, 0 or 1.
    let signs = printed.replace("-1", "<").replace('1', ">").replace('0', "=");
    signs
        .chars()
        .filter_map(|sign| match sign {
            '<' => Some(Ordering::Less),
            '=' => Some(Ordering::Equal),
            '>' => Some(Ordering::Greater),
            _ => None,
        })
        .collect()
}

/// Checks that versions are in this order, those in one text equal.
fn ordered(scheme: Scheme, versions: &[&str]) {
    let versions: Vec<(usize, &str)> = versions
        .iter()
        .enumerate()
        .flat_map(|(place, equal)| equal.split(' ').map(move |version| (place, version)))
        .collect();
    for (place, a) in &versions {
        for (other, b) in &versions {
            assert_eq!(scheme.compare(a, b), Some(place.cmp(other)), "{scheme:?} {a} {b}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn versions_are_compared_as_dpkg_does(
        a in "([0-2]:)?[0-9][0-9a-b.+~]{0,4}(-[0-9a-b.+~]{1,3})?",
        b in "([0-2]:)?[0-9][0-9a-b.+~]{0,4}(-[0-9a-b.+~]{1,3})?",
    ) {
        prop_assert_eq!(Scheme::Dpkg.compare(&a, &b), Some(dpkg_says(&a, &b)));
    }

    #[test]
    fn comparing_is_an_order_and_never_panics(a in "[ -~]{1,12}", b in "[ -~]{1,12}") {
        for scheme in [Scheme::Dpkg, Scheme::Rpm, Scheme::Apk, Scheme::Pacman, Scheme::Pep440, Scheme::Semver, Scheme::Maven] {
            let turned = scheme.compare(&b, &a).map(Ordering::reverse);
            // rpm and pacman themselves have no order for words against numbers of which one is missing.
            if !matches!(scheme, Scheme::Rpm | Scheme::Pacman) {
                prop_assert_eq!(scheme.compare(&a, &b), turned, "{:?} {} {}", scheme, a, b);
            }
            if let Some(order) = scheme.compare(&a, &a) {
                prop_assert_eq!(order, Ordering::Equal);
            }
        }
    }
}

#[test]
fn versions_are_compared_as_rpm_does() {
    let texts = proptest::string::string_regex("[0-9][0-9a-b.~^]{0,6}").unwrap();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut text = || {
        use proptest::strategy::ValueTree;
        texts.new_tree(&mut runner).unwrap().current()
    };
    let pairs: Vec<(String, String)> = (0..2000).map(|_| (text(), text())).collect();
    let expected = rpm_says(&pairs);
    assert_eq!(expected.len(), pairs.len());
    for ((a, b), expected) in pairs.iter().zip(expected) {
        assert_eq!(rpm_part(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
    }
    ordered(Scheme::Rpm, &["1.0~rc1-9", "1.0-1 1.0", "1.0^git1-1", "1.0.1-1", "1:0.1-1"][..1]);
    ordered(Scheme::Rpm, &["1.0~rc1-9", "1.0-1", "1.0-2", "1.0^git1-1", "1.0.1-1", "1:0.1-1"]);
    assert_eq!(Scheme::Rpm.compare("1.0-5", "1.0"), Some(Ordering::Equal));
}

#[test]
fn versions_of_pacman_are_in_the_order_of_vercmp() {
    // The examples of vercmp(8).
    ordered(
        Scheme::Pacman,
        &["1.0a", "1.0alpha", "1.0b", "1.0beta", "1.0p", "1.0pre", "1.0rc", "1.0", "1.0.a", "1.0.1"],
    );
    ordered(Scheme::Pacman, &["1", "1.0", "1.1", "1.1.1", "1.2", "2.0", "3.0.0"]);
    ordered(Scheme::Pacman, &["1.0-1", "1.0-2", "1:0.5-1"]);
}

#[test]
fn versions_of_apk_are_in_the_order_of_its_specification() {
    ordered(
        Scheme::Apk,
        &[
            "1.0_alpha",
            "1.0_alpha2",
            "1.0_beta",
            "1.0_pre",
            "1.0_rc1",
            "1.0",
            "1.0-r1",
            "1.0_git20200101",
            "1.0_p1",
            "1.0_p1-r3",
            "1.0a",
            "1.0b-r1",
            "1.0.1",
            "1.1",
            "1.2.05",
            "1.2.1",
            "1.2.10",
            "2.0",
        ],
    );
    for broken in ["", "x", "1.", "1._p1", "1-r", "1_x", "1-r1.2", "1aa"] {
        assert_eq!(Scheme::Apk.compare(broken, "1"), None, "{broken}");
    }
}

#[test]
fn versions_of_archives_are_in_the_order_of_their_specifications() {
    // The summary of PEP 440.
    ordered(
        Scheme::Pep440,
        &[
            "1.dev0",
            "1.0.dev456",
            "1.0a1 1.0.alpha1 1.0-A1",
            "1.0a2.dev456",
            "1.0a12.dev456",
            "1.0a12",
            "1.0b1.dev456",
            "1.0b2",
            "1.0b2.post345.dev456",
            "1.0b2.post345",
            "1.0rc1.dev456",
            "1.0rc1 1.0c1",
            "1.0 1 v1.0.0",
            "1.0+abc.5",
            "1.0+abc.7",
            "1.0+5",
            "1.0.post456.dev34",
            "1.0.post456 1.0-456",
            "1.0.15",
            "1.1.dev1",
            "1!0.1",
        ][1..],
    );
    assert_eq!(Scheme::Pep440.compare("2004d", "1"), None);
    ordered(
        Scheme::Semver,
        &[
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0 v1.0.0 1.0.0+build",
            "1.0.1",
            "1.10.0",
            "go2.0",
        ],
    );
    ordered(
        Scheme::Maven,
        &[
            "1-alpha1",
            "1-beta",
            "1.0-m3",
            "1.0-rc1 1.0-CR1",
            "1.0-SNAPSHOT",
            "1 1.0 1.0.0 1.0.Final 1-ga",
            "1-sp",
            "1-jre",
            "1-1 1.0-1 1.0.0-1",
            "1-2",
            "1-2.1",
            "1.0.1",
            "1.0.1-1-0 1.0.1-1",
            "1.0.1.1",
            "1.1-rc1 1.1-rc-1 1.1.RC1",
            "1.1",
            "1.10",
        ],
    );
}

#[test]
fn conditions_are_read_and_met() {
    let met = |text: &str, version: &str| {
        Condition::parse_all(text).unwrap().iter().all(|condition| condition.is_met_by(version, Scheme::Dpkg).unwrap())
    };
    for (text, version, expected) in [
        ("<1.2.3-4", "1.2.3-3", true),
        ("<1.2.3-4", "1.2.3-4", false),
        ("<= 1.2.3-4", "1.2.3-4", true),
        (">=1.0, <2", "1.5", true),
        (">=1.0, <2", "2", false),
        ("=1", "1.0", false),
        ("!=1", "1.0", true),
        (">1:0", "9", false),
    ] {
        assert_eq!(met(text, version), expected, "{text} {version}");
    }
    for text in ["1.2", "", "<", "<1,", "< 1 2", "<\u{e9}", &format!("<{}", "1".repeat(257))] {
        assert!(Condition::parse_all(text).is_err(), "{text}");
    }
}
