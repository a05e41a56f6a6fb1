//! Converts a rendering back to a target; the fuzz target in `tests/fuzz` includes this file too.

/// Converts PostgreSQL's rendering back to a target, by removing what targets may not contain: escape strings, and the
/// guard around arrays, passed as the text before and after the array.
pub fn plain(condition: &str, (array_before, array_after): (&str, &str)) -> String {
    let condition = condition.replace(array_before, "json_array_elements((").replace(array_after, "))");
    let mut text = String::new();
    let mut rest = condition.as_str();
    while let Some(start) = rest.find('\'') {
        let is_escape = rest[..start].ends_with('E') && rest[..start - 1].ends_with([' ', '(']);
        text += &rest[..start - usize::from(is_escape)];
        let mut end = start + 1;
        while let Some(quote) = rest[end..].find('\'') {
            end += quote + 1;
            if !rest[end..].starts_with('\'') {
                break;
            }
            end += 1;
        }
        let string = &rest[start..end];
        text += &if is_escape { string.replace("\\\\", "\\") } else { string.to_owned() };
        rest = &rest[end..];
    }
    text + rest
}
