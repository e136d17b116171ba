//! Reports as the suites write them are read as they are meant.

use super::*;

/// What a suite writes of cases, each with how it and its end were.
fn index(cases: &[(&str, &str, &str)]) -> String {
    let entry = |(name, behavior, close): &(&str, &str, &str)| {
        let file = format!("net_case_{}.json", name.replace('.', "_"));
        let entry = json!({
            "behavior": behavior,
            "behaviorClose": close,
            "duration": 3,
            "remoteCloseCode": 1000,
            "reportfile": file,
        });
        ((*name).to_owned(), entry)
    };
    let cases: serde_json::Map<_, _> = cases.iter().map(entry).collect();
    json!({"net": cases}).to_string()
}

fn verdicts(cases: &[Case]) -> Vec<(String, Verdict)> {
    cases.iter().map(|case| (case.name(), case.verdict)).collect()
}

#[test]
fn cases_are_in_the_order_of_their_numbers() {
    let text = index(&[("10.1.1", "OK", "OK"), ("9.10.1", "OK", "OK"), ("9.2.1", "OK", "OK")]);
    let names: Vec<_> = parse(&text).unwrap().iter().map(Case::name).collect();
    assert_eq!(names, ["9.2.1", "9.10.1", "10.1.1"]);
}

#[test]
fn the_worse_of_a_case_and_its_end_is_its_verdict() {
    let text = index(&[
        ("1.1.1", "OK", "OK"),
        ("7.1.6", "INFORMATIONAL", "INFORMATIONAL"),
        ("7.13.1", "OK", "INFORMATIONAL"),
        ("6.4.3", "NON-STRICT", "OK"),
        ("12.1.1", "UNIMPLEMENTED", "OK"),
        ("5.1", "FAILED", "OK"),
        ("7.1.1", "OK", "WRONG CODE"),
        ("7.1.2", "OK", "UNCLEAN"),
        ("7.1.3", "OK", "FAILED BY CLIENT"),
    ]);
    let expected = [
        ("1.1.1", Verdict::Ok),
        ("5.1", Verdict::Failed),
        ("6.4.3", Verdict::NonStrict),
        ("7.1.1", Verdict::Failed),
        ("7.1.2", Verdict::Failed),
        ("7.1.3", Verdict::Failed),
        ("7.1.6", Verdict::Informational),
        ("7.13.1", Verdict::Informational),
        ("12.1.1", Verdict::Unimplemented),
    ]
    .map(|(name, verdict)| (name.to_owned(), verdict));
    let cases = parse(&text).unwrap();
    assert_eq!(verdicts(&cases), expected);
    let failures = failures(&cases);
    assert_eq!(failures.len(), 6);
    let beginning = "6.4.3: NON-STRICT, closing OK, see net_case_6_4_3.json\n";
    assert!(failures[1].starts_with(beginning), "{}", failures[1]);
    let summary = summary(&cases, 1.5);
    assert_eq!(summary.pointer("/failures/5/case"), Some(&json!("12.1.1")));
    assert_eq!(summary.pointer("/verdicts/informational"), Some(&json!(2)));
}

#[test]
fn a_report_of_nothing_or_of_several_is_none() {
    assert!(parse("{}").is_err() && parse("{\"net\": {}}").is_err() && parse("[").is_err());
    let two = json!({"a": {}, "b": {}}).to_string();
    assert_eq!(parse(&two).unwrap_err().to_string(), "it is of 2 agents");
    assert!(parse(&index(&[("1.x", "OK", "OK")])).is_err());
}

#[test]
fn the_table_has_a_row_for_each_group_and_a_column_for_each_verdict_that_there_is() {
    let text = index(&[("1.1.1", "OK", "OK"), ("1.1.2", "OK", "OK"), ("9.1.1", "FAILED", "OK")]);
    let drawn = table(&parse(&text).unwrap());
    let rows: Vec<Vec<_>> = drawn.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["group", "cases", "ok", "failed"]);
    assert_eq!(rows[1], ["1", "framing", "2", "2", "0"]);
    assert_eq!(rows[2], ["9", "limits", "and", "speed", "1", "0", "1"]);
    assert_eq!(rows[3], ["all", "3", "2", "1"]);
}

#[test]
fn only_the_known_fault_in_the_groups_of_compression_is_spurious() {
    let text =
        index(&[("9.1.1", "ERROR", "FAILED"), ("12.1.1", "ERROR", "FAILED"), ("13.2.3", "ERROR", "FAILED")]);
    let cases = parse(&text).unwrap();
    let spurious = |report: &str| cases.iter().map(|case| is_spurious(case, report)).collect::<Vec<_>>();
    assert_eq!(spurious("{\"result\": \"Strings must be encoded before hashing\"}"), [false, true, true]);
    assert_eq!(spurious("something else"), [false; 3]);
}

#[test]
fn why_a_case_failed_is_told_from_its_own_report() {
    let report = json!({
        "result": "Actual events differ from any expected.",
        "resultClose": "Connection was properly closed",
        "remoteCloseCode": 1000,
        "expected": {"OK": [["timeout", "A"]]},
        "received": [],
    });
    let told = why(&report);
    assert!(
        told.starts_with("Actual events differ from any expected. Connection was properly closed"),
        "{told}"
    );
    assert!(told.ends_with("Expected {\"OK\":[[\"timeout\",\"A\"]]}, closing null, received []"), "{told}");
}
