use super::*;

#[test]
fn the_line_ends_of_a_text_signature_are_those_of_gpg() {
    for (text, canonical) in [
        ("a\nb", "a\r\nb"),
        ("a\r\nb", "a\r\nb"),
        ("a\r\r\nb", "a\r\nb"),
        ("a \t\nb ", "a \t\r\nb "),
        ("a\rb\n", "a\rb\r\n"),
        ("\n\n", "\r\n\r\n"),
        ("a\r", "a"),
    ] {
        assert_eq!(covered(text, SignatureType::Text), canonical, "{text:?}");
        assert_eq!(covered(text, SignatureType::Binary), text);
    }
}
