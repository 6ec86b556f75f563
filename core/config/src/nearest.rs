//! The known key that a misspelt one was probably meant to be.

/// The candidate nearest to `word` by edit distance, if one is near enough to be worth naming.
pub(crate) fn nearest(word: &str, candidates: &[&'static str]) -> Option<&'static str> {
    // A third of the letters wrong is still a typing mistake; more is another word.
    let limit = (word.chars().count() / 3).max(2);
    candidates
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edit distance where a swap of two neighbours counts once (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = a[i - 1] == b[j - 1];
            row[j] = (above[j] + 1)
                .min(row[j - 1] + 1)
                .min(above[j - 1] + usize::from(!same));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_missing_and_wrong_letters_are_counted_once_each() {
        for (a, b, expected) in [
            ("endpoint", "endpoint", 0),
            ("endpiont", "endpoint", 1),
            ("endpont", "endpoint", 1),
            ("endpoimt", "endpoint", 1),
            ("", "abc", 3),
            ("Insecure", "insecure", 0),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn another_word_gets_no_suggestion() {
        assert_eq!(nearest("colour", &["endpoint", "tls"]), None);
        assert_eq!(nearest("tsl", &["endpoint", "tls"]), Some("tls"));
        assert_eq!(nearest("keep_alive", &["keepalive", "tls"]), Some("keepalive"));
    }
}
