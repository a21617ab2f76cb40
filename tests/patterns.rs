//! What patterns match: tables of known answers, and properties that hold for any pattern at all.

use std::path::Path;
use std::time::{Duration, Instant};

use dockless::pattern::{
    Filter, FilterState, Glob, MatchState, PatternError, Patterns, clean, has_wildcards, ignore_file, split_wildcards,
};
use proptest::prelude::*;

fn matches(patterns: &[&str], path: &str) -> bool {
    Patterns::parse(patterns).expect("well-formed").matches(Path::new(path))
}

/// As a walk asks: each directory on the way, with what is known of the one above.
fn walked(patterns: &[String], path: &str) -> bool {
    let patterns = Patterns::parse(patterns).expect("well-formed");
    let (mut state, mut matched) = (MatchState::default(), false);
    for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
        (matched, state) = patterns.look(Path::new(&path[..end]), &state);
    }
    matched
}

const IGNORE: &[(&str, &str, bool)] = &[
    ("**", "file", true),
    ("**/", "dir/file", true),
    ("**/**", "dir/file", true),
    ("dir/**", "dir/file", true),
    ("dir/**", "dir/dir2/file", true),
    ("dir/**", "dir", false),
    ("**/dir", "dir", true),
    ("**/dir", "dir/file", true),
    ("**/dir2/*", "dir/dir2/file", true),
    ("**/dir2/**", "dir/dir2/dir3/file", true),
    ("**file", "file", true),
    ("**file", "dir/other-file", true),
    ("**file?", "dir/other-file1", false),
    ("**/file", "dir/dir/file", true),
    ("**/file", "profile", false),
    ("**/file*", "dir/dir/file.txt", true),
    ("**/file*.txt*", "dir/dir/file.txt", true),
    ("**/**/*.txt", "dir/dir/file.txt", true),
    ("**/**/*.txt2", "dir/dir/file.txt", false),
    ("**/**/*.txt", "file.txt", true),
    ("a**/*.txt", "a/file.txt", true),
    ("a**/*.txt", "a/dir/dir/file.txt", true),
    ("a**b", "ab", true),
    ("a**b", "ax/b", true),
    ("a**b", "axb", false),
    ("a/*.txt", "a/dir/file.txt", false),
    ("a/*.txt**", "a/file.txt", true),
    ("a[b-d]e", "ae", false),
    ("a[b-d]e", "ace", true),
    ("a[^b-d]e", "aze", true),
    (".*", ".foo", true),
    (".*", "foo", false),
    ("abc.def", "abcZdef", false),
    ("abc?def", "abcZdef", true),
    ("abc?def", "abcdef", false),
    ("a\\\\", "a\\", true),
    ("a\\*b", "a*b", true),
    ("a\\d", "ad", true),
    ("a\\d", "a7", false),
    ("a(b)c/def", "a(b)c/def", true),
    ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
    ("dist/*.whl", "dist/x-2.4.0rc3+g0-py3-none-any.whl", true),
    ("docs/", "docs/a/b", true),
    ("  docs  ", "docs", true),
    ("./docs//x/../y", "docs/y", true),
    ("/docs", "docs", false),
    ("**/a\nb", "x/a\nb", true),
    ("a/**/c", "a/new\nline/c", true),
    ("a?b", "a☺b", true),
    ("[a-ζ]*", "α", true),
    ("*[a-ζ]", "A", false),
];

const GLOB: &[(&str, &str, bool)] = &[
    ("abc", "abc", true),
    ("*", "abc", true),
    ("*", "", true),
    ("a*", "ab/c", false),
    ("a*/b", "abc/b", true),
    ("a*/b", "a/c/b", false),
    ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
    ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
    ("a*b?c*x", "abxbbxdbxebxczzx", true),
    ("a*b?c*x", "abxbbxdbxebxczzy", false),
    ("**/c", "a/b/c", false),
    ("**/c", "a/c", true),
    ("ab[^b-d]", "abc", false),
    ("ab[^e-g]", "abc", true),
    ("a[\\]]", "a]", true),
    ("[\\-x]", "-", true),
    ("a???b", "a☺b", false),
    ("[^a]x", "/x", true),
    ("!a", "!a", true),
];

#[test]
fn lists_match_as_dockerignore_files_are_documented_to() {
    for (pattern, path, expected) in IGNORE {
        assert_eq!(matches(&[pattern], path), *expected, "{pattern:?} on {path:?}");
        assert_eq!(walked(&[(*pattern).to_owned()], path), *expected, "{pattern:?} on {path:?}, walked");
    }
}

#[test]
fn wildcards_match_as_go_does() {
    for (pattern, path, expected) in GLOB {
        assert_eq!(Glob::parse(pattern).expect(pattern).matches(Path::new(path)), *expected, "{pattern:?} on {path:?}");
    }
}

#[test]
fn the_last_pattern_that_matches_decides() {
    assert!(!matches(&["**", "!util/docker/web"], "util/docker/web/foo"));
    assert!(matches(&["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo"));
    assert!(!matches(&["!a", "b"], "a"));
    assert!(matches(&["!a", "a"], "a"));
    assert!(matches(&["*", "!dir", "dir/x"], "dir/x/y"));
    assert!(!matches(&["*", "!dir", "dir/x"], "dir/z"));
    assert!(!matches(&[], "a"));
}

#[test]
fn malformed_patterns_are_errors_that_name_them() {
    for pattern in ["[", "a[", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[\\", "a\\", "[^", "[^]a]", "[z-a]", "a/[/b"]
    {
        for error in [Glob::parse(pattern).expect_err(pattern), Patterns::parse(&[pattern]).expect_err(pattern)] {
            assert!(error.to_string().contains(&format!("`{pattern}`")), "{error}");
        }
    }
    assert!(matches!(Patterns::parse(&["a", "!"]), Err(PatternError::Exception { .. })));
    assert!(matches!(Patterns::parse(&["!["]), Err(PatternError::Malformed { .. })));
}

#[test]
fn hostile_patterns_take_no_longer_than_others() {
    let start = Instant::now();
    let name = "a".repeat(4000);
    for pattern in ["*a".repeat(300) + "b", "**/".repeat(200) + "*b", "[^b]*".repeat(300) + "b"] {
        assert!(!matches(&[&pattern], &name));
        assert!(!Glob::parse(&pattern).expect("well-formed").matches(Path::new(&name)));
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn names_that_are_no_text_match_too() {
    use std::os::unix::ffi::OsStrExt as _;
    let name = Path::new(std::ffi::OsStr::from_bytes(b"caf\xe9\xff.txt"));
    assert!(Patterns::parse(&["*.txt"]).expect("well-formed").matches(name));
    assert!(Patterns::parse(&["caf??.txt"]).expect("well-formed").matches(name));
    assert!(!Patterns::parse(&["caf?.txt"]).expect("well-formed").matches(name));
}

#[test]
fn a_walk_looks_only_where_something_may_be_taken() {
    let top = FilterState::default();
    for (include, exclude, path, included, descend) in [
        (&["a/b"][..], &[][..], "a", false, true),
        (&["a/b"], &[], "b", false, false),
        (&["a/b"], &[], "a/b", true, true),
        (&["*/deep"], &[], "sub", false, true),
        (&["*/deep"], &[], "sub/other", false, false),
        (&["**/three"], &[], "x/y", false, true),
        (&["a", "!a/b"], &[], "a", true, true),
        (&[], &["a"], "a", false, false),
        (&[], &["a", "!a/b"], "a", false, true),
        (&[], &["a", "!b"], "a", false, false),
        (&[], &["*", "!**/keep"], "a", false, true),
        (&["a"], &["a/b"], "a", true, true),
        (&["a"], &["a/b"], "a/b", false, false),
        (&["b"], &["a", "!a/b"], "a", false, false),
    ] {
        let verdict = Filter::parse(include, exclude).expect("well-formed").look(Path::new(path), &top);
        assert_eq!((verdict.included, verdict.descend), (included, descend), "+{include:?} -{exclude:?} on {path}");
    }
    assert!(Filter::parse::<&str>(&[], &[]).expect("well-formed").is_empty());
    // Patterns that are all blank include nothing, as moby has it.
    assert!(!Filter::parse(&[" "], &[]).expect("well-formed").look(Path::new("a"), &top).included);
}

#[test]
fn ignore_files_are_read_as_moby_reads_them() {
    let text = b"\xef\xbb\xbf#comment\r\n\n  /a/b/ \n!  /c\n # no comment\n./d/../e\n/\n";
    assert_eq!(ignore_file(text).expect("well-formed"), ["a/b", "!c", "# no comment", "e", "/"]);
    assert!(matches!(ignore_file(b"a\n! \n"), Err(PatternError::Exception { .. })));
}

#[test]
fn a_source_is_split_where_its_wildcards_begin() {
    for (path, above, rest) in [
        ("/a/b", "/a/b", ""),
        ("/a*", "/", "a*"),
        ("/a/b?/c", "/a", "b?/c"),
        ("a/[b]/c", "a", "[b]/c"),
        ("*", "", "*"),
        ("/a\\*/x", "/a\\*/x", ""),
        ("/a/../b/./*", "/b", "*"),
        ("/", "/", ""),
    ] {
        assert_eq!(split_wildcards(path), (above.to_owned(), rest.to_owned()), "{path}");
    }
    assert!(has_wildcards("a\\\\*") && !has_wildcards("a\\*") && !has_wildcards("a\\"));
}

#[test]
fn paths_are_cleaned_as_go_cleans_them() {
    for (path, cleaned) in [
        ("", "."),
        ("a//b/./c/", "a/b/c"),
        ("../../a", "../../a"),
        ("a/../..", ".."),
        ("/../a", "/a"),
        ("/", "/"),
        ("a/..", "."),
        ("../a/../b", "../b"),
    ] {
        assert_eq!(clean(path), cleaned, "{path:?}");
    }
}

/// Names of few letters, so that patterns meet them.
fn name() -> impl Strategy<Value = String> {
    "[ab]{1,2}(/[ab]{1,2}){0,3}"
}

fn pattern() -> impl Strategy<Value = String> {
    "!?([ab*?]|\\*\\*|\\[ab\\]|\\[\\^a\\]){1,3}(/([ab*?]|\\*\\*|\\[b\\]){1,3}){0,3}"
}

proptest! {
    #[test]
    fn no_pattern_panics(pattern in "\\PC{0,40}", syntax in "[\\[\\]\\^\\-\\\\*?!/ab ]{0,30}", name in "\\PC{0,40}") {
        for pattern in [&pattern, &syntax] {
            if let Ok(glob) = Glob::parse(pattern) {
                glob.matches(Path::new(&name));
                glob.may_match_below(Path::new(&name));
            }
            if let Ok(patterns) = Patterns::parse(&[pattern]) {
                patterns.matches(Path::new(&name));
            }
            split_wildcards(pattern);
            let once = clean(pattern);
            prop_assert_eq!(clean(&once), once);
        }
    }

    #[test]
    fn a_pattern_that_is_all_escaped_matches_its_own_name_only(
        name in "[a-z*?!\\[\\]-]{1,9}",
        other in "[a-z*?-]{1,9}",
    ) {
        let escaped: String = name.chars().flat_map(|char| ['\\', char]).collect();
        let glob = Glob::parse(&escaped).expect("well-formed");
        prop_assert!(glob.matches(Path::new(&name)));
        prop_assert_eq!(glob.matches(Path::new(&other)), name == other);
    }

    #[test]
    fn a_walk_that_is_pruned_takes_what_a_whole_walk_takes(
        include in prop::collection::vec(pattern(), 0..4),
        exclude in prop::collection::vec(pattern(), 0..4),
        path in name(),
    ) {
        let Ok(filter) = Filter::parse(&include, &exclude) else { return Ok(()) };
        let (mut state, mut reached, mut included) = (FilterState::default(), true, false);
        for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
            let verdict = filter.look(Path::new(&path[..end]), &state);
            included = verdict.included;
            if end < path.len() {
                reached &= verdict.descend;
            }
            state = verdict.state;
        }
        prop_assert!(!included || reached, "+{include:?} -{exclude:?} would miss {path}");
    }

    #[test]
    fn a_glob_prunes_nothing_that_it_matches(pattern in pattern(), path in name()) {
        let glob = Glob::parse(&pattern).expect("well-formed");
        if glob.matches(Path::new(&path)) {
            for (end, _) in path.match_indices('/') {
                prop_assert!(glob.may_match_below(Path::new(&path[..end])), "{pattern} {path}");
            }
        }
    }
}
