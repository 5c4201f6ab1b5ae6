//! Writing to a real slapd by compare-and-set.

use std::path::Path;
use std::sync::Arc;

use directory::{LdapDirectory, ServerSettings};
use sync_core::directory::{Directory, DirectoryWrite, NewValue, RawValue, WriteOutcome};
use sync_core::person::{DirectoryEntry, DirectoryKey, Field};

use crate::support::{Certificate, PEOPLE, Slapd, UNLIMITED, crowd, person, read};

fn dn(uid: &str) -> String {
    format!("uid={uid},{PEOPLE}")
}

fn entry(settings: &ServerSettings, uid: &str) -> DirectoryEntry {
    let entries = read(settings.clone()).expect("people").entries;
    let found = entries.into_iter().find(|entry| entry.dn == dn(uid)).expect("the person");
    Arc::unwrap_or_clone(found)
}

fn change(entry: &DirectoryEntry, field: Field, replaces: Option<&str>, value: &str) -> DirectoryWrite {
    DirectoryWrite {
        key: entry.key.clone(),
        dn: entry.dn.clone(),
        change_mark: entry.change_mark.clone(),
        field,
        value: NewValue::Text {
            seen: entry.attributes.of(field).map(|value| RawValue::text(value)).collect(),
            replaces: replaces.map(RawValue::text),
            value: RawValue::text(value),
        },
    }
}

fn write(settings: &ServerSettings, writes: &[DirectoryWrite]) -> Vec<WriteOutcome> {
    let mut outcomes: Vec<Option<WriteOutcome>> = vec![None; writes.len()];
    let mut directory = LdapDirectory::new(settings.clone());
    let done = &mut |index: usize, outcome: &WriteOutcome| {
        assert_eq!(outcomes[index].replace(outcome.clone()), None, "one outcome per write");
    };
    directory.write(writes, Path::new("none"), done).expect("a connection");
    outcomes.into_iter().map(|outcome| outcome.expect("an outcome for each write")).collect()
}

fn is_written(outcome: &WriteOutcome) -> bool {
    matches!(outcome, WriteOutcome::Written { .. })
}

/// The same write with the entry's mark, which is asserted, and without, which compares values.
fn both_ways(write: &DirectoryWrite) -> [DirectoryWrite; 2] {
    [write.clone(), DirectoryWrite { change_mark: String::new(), ..write.clone() }]
}

#[test]
fn a_new_number_stands_in_the_directory_with_its_mark() {
    let Some(slapd) = Slapd::start(&person("ann", ""), UNLIMITED, Certificate::Good) else { return };
    let settings = slapd.settings();
    let ann = entry(&settings, "ann");
    let outcomes = write(&settings, &[change(&ann, Field::Number, None, "201")]);
    assert_eq!(slapd.values(&dn("ann"), "telephoneNumber"), ["201"]);
    let after = entry(&settings, "ann");
    assert_eq!(outcomes, [WriteOutcome::Written { change_mark: after.change_mark.clone() }]);
    assert_ne!(after.change_mark, ann.change_mark);
    assert!(is_written(&write(&settings, &[change(&after, Field::Number, Some("201"), "")])[0]));
    assert_eq!(slapd.values(&dn("ann"), "telephoneNumber"), Vec::<String>::new());
}

#[test]
fn other_values_of_the_attribute_stay() {
    let people =
        person("ann", "telephoneNumber: 201\ntelephoneNumber: +49 30 1\n") + &person("bob", "telephoneNumber: 5\n");
    let Some(slapd) = Slapd::start(&people, UNLIMITED, Certificate::Good) else { return };
    let settings = slapd.settings();
    let ann = entry(&settings, "ann");
    let unmarked = DirectoryEntry { change_mark: String::new(), ..entry(&settings, "bob") };
    let writes = [change(&ann, Field::Number, Some("201"), "202"), change(&unmarked, Field::Number, None, "6")];
    assert!(write(&settings, &writes).iter().all(is_written));
    assert_eq!(slapd.values(&dn("ann"), "telephoneNumber"), ["+49 30 1", "202"]);
    assert_eq!(slapd.values(&dn("bob"), "telephoneNumber"), ["5", "6"]);
}

#[test]
fn an_edit_by_somebody_else_is_never_overwritten() {
    let people = person("ann", "telephoneNumber: 201\n") + &person("bob", "");
    let Some(slapd) = Slapd::start(&people, UNLIMITED, Certificate::Good) else { return };
    let settings = slapd.settings();
    let (ann, bob) = (entry(&settings, "ann"), entry(&settings, "bob"));
    let change_number = "changetype: modify\nreplace: telephoneNumber\ntelephoneNumber: 777\n";
    slapd.edit(&format!("dn: {}\n{change_number}\ndn: {}\n{change_number}", dn("ann"), dn("bob")));
    for attempt in both_ways(&change(&ann, Field::Number, Some("201"), "202")) {
        assert_eq!(write(&settings, &[attempt]), [WriteOutcome::ChangedMeanwhile]);
    }
    for attempt in both_ways(&change(&bob, Field::Number, None, "203")) {
        assert_eq!(write(&settings, &[attempt]), [WriteOutcome::ChangedMeanwhile]);
    }
    for uid in ["ann", "bob"] {
        assert_eq!(slapd.values(&dn(uid), "telephoneNumber"), ["777"]);
    }
}

#[test]
fn a_missing_right_is_named_and_holds_up_nothing_else() {
    let Some(slapd) = Slapd::start(&person("ann", "mobile: 1\n"), UNLIMITED, Certificate::Good) else { return };
    let settings = slapd.settings();
    for marked in [true, false] {
        let mut ann = entry(&settings, "ann");
        if !marked {
            ann.change_mark.clear();
        }
        let old = ann.attributes.of(Field::Number).next().cloned();
        let number = if marked { "201" } else { "202" };
        let writes = [change(&ann, Field::Mobile, Some("1"), "2"), change(&ann, Field::Number, old.as_deref(), number)];
        let outcomes = write(&settings, &writes);
        assert!(
            matches!(&outcomes[0], WriteOutcome::NoRights(text) if text.contains("mobile") && text.contains("cn=pbx"))
        );
        assert!(is_written(&outcomes[1]), "{:?}", outcomes[1]);
        assert_eq!(slapd.values(&dn("ann"), "telephoneNumber"), [number]);
        assert_eq!(slapd.values(&dn("ann"), "mobile"), ["1"]);
    }
}

#[test]
fn refused_values_and_spellings_are_explained() {
    let people = person("ann", "telephoneNumber: +49 30 1\n") + &person("bob", "employeeNumber: 7\n");
    let Some(slapd) = Slapd::start(&people, UNLIMITED, Certificate::Good) else { return };
    let mut settings = slapd.settings();
    let ann = entry(&settings, "ann");
    for attempt in both_ways(&change(&ann, Field::Number, None, "+49301")) {
        let outcomes = write(&settings, &[attempt]);
        assert!(
            matches!(&outcomes[0], WriteOutcome::Refused(text) if text.contains("attributeOrValueExists")),
            "{outcomes:?}"
        );
    }
    // employeeNumber holds one value; a second one is the server's refusal, not somebody's edit.
    settings.attributes.number = "employeeNumber".to_owned();
    let bob = entry(&settings, "bob");
    for attempt in both_ways(&change(&bob, Field::Number, None, "8")) {
        let outcomes = write(&settings, &[attempt]);
        assert!(
            matches!(&outcomes[0], WriteOutcome::Refused(text) if text.contains("constraintViolation")),
            "{outcomes:?}"
        );
    }
    settings.attributes.number.clear();
    let outcomes = write(&settings, &[change(&ann, Field::Number, None, "8")]);
    assert!(matches!(&outcomes[0], WriteOutcome::Refused(text) if text.contains("no attribute is mapped")));
}

/// To telephoneNumberMatch (RFC 4517, 4.2.29) spaces and hyphens mean nothing, so old and new may be the same to the server.
#[test]
fn a_number_is_respelled_although_the_server_takes_both_spellings_for_one() {
    #[track_caller]
    fn check(old: &[&str], replaces: &str, expected: &[&str]) {
        let lines: String = old.iter().map(|value| format!("telephoneNumber: {value}\n")).collect();
        let people = person("ann", &lines) + &person("bob", &lines);
        let Some(slapd) = Slapd::start(&people, UNLIMITED, Certificate::Good) else { return };
        let mut settings = slapd.settings();
        settings.attributes.number = "employeeNumber".to_owned();
        settings.attributes.mobile = "telephoneNumber".to_owned();
        for (uid, marked) in [("ann", true), ("bob", false)] {
            let mut entry = entry(&settings, uid);
            if !marked {
                entry.change_mark.clear();
            }
            let outcomes = write(&settings, &[change(&entry, Field::Mobile, Some(replaces), "+79261234567")]);
            assert!(is_written(&outcomes[0]), "{uid}: {outcomes:?}");
            assert_eq!(slapd.values(&dn(uid), "telephoneNumber"), expected, "{uid}");
        }
    }
    check(&["8 926 123-45-67"], "8 926 123-45-67", &["+79261234567"]);
    check(&["+7 926 123-45-67"], "+7 926 123-45-67", &["+79261234567"]);
    check(&["+7 926 123-45-67", "+49 30 1"], "+7 926 123-45-67", &["+49 30 1", "+79261234567"]);
    // Another value is the new one already, spelled differently: the old one goes, and the other stays as it is spelled.
    check(&["8 926 123-45-67", "+7 926 123-45-67"], "8 926 123-45-67", &["+7 926 123-45-67"]);
}

#[test]
fn attributes_without_an_equality_rule_are_replaced_whole() {
    let fax = "facsimileTelephoneNumber: 201\nfacsimileTelephoneNumber: 9\n";
    let Some(slapd) = Slapd::start(&person("ann", fax), UNLIMITED, Certificate::Good) else { return };
    let mut settings = slapd.settings();
    settings.attributes.number = "facsimileTelephoneNumber".to_owned();
    for (attempt, (old, new)) in [("201", "202"), ("202", "203")].into_iter().enumerate() {
        let ann = entry(&settings, "ann");
        let marked = both_ways(&change(&ann, Field::Number, Some(old), new))[attempt].clone();
        assert!(is_written(&write(&settings, &[marked])[0]));
        let mut expected = [new, "9"];
        expected.sort();
        assert_eq!(slapd.values(&dn("ann"), "facsimileTelephoneNumber"), expected);
        // The same write again meets an entry that changed, by us this time.
        for stale in both_ways(&change(&ann, Field::Number, Some(old), "999")) {
            assert_eq!(write(&settings, &[stale]), [WriteOutcome::ChangedMeanwhile]);
        }
    }
}

#[test]
fn a_person_who_moved_is_found_by_identifier() {
    let people = person("ann", "") + &person("bob", "") + &person("eve", "");
    let Some(slapd) = Slapd::start(&people, UNLIMITED, Certificate::Good) else { return };
    let settings = slapd.settings();
    let mut ann = entry(&settings, "ann");
    let moved = "uid=ann,ou=left,dc=example,dc=test";
    let to_left = "changetype: moddn\nnewrdn: uid=ann\ndeleteoldrdn: 1\nnewsuperior: ou=left,dc=example,dc=test\n";
    slapd.edit(&format!("dn: {}\n{to_left}", dn("ann")));
    // The move is an edit of the entry, so its mark is old; by its values it is still the same.
    assert_eq!(write(&settings, &[change(&ann, Field::Number, None, "201")]), [WriteOutcome::ChangedMeanwhile]);
    ann.change_mark.clear();
    assert!(is_written(&write(&settings, &[change(&ann, Field::Number, None, "201")])[0]));
    assert_eq!(slapd.values(moved, "telephoneNumber"), ["201"]);
    // Somebody else now has the DN: the write must follow the person, not the name.
    let mut bob = entry(&settings, "bob");
    bob.change_mark.clear();
    let eve_becomes_bob = "changetype: moddn\nnewrdn: uid=bob\ndeleteoldrdn: 1\n";
    slapd.edit(&format!("dn: {}\nchangetype: delete\n\ndn: {}\n{eve_becomes_bob}", dn("bob"), dn("eve")));
    let outcomes = write(&settings, &[change(&bob, Field::Number, None, "202")]);
    assert!(matches!(&outcomes[0], WriteOutcome::Refused(text) if text.contains("not on")), "{outcomes:?}");
    assert_eq!(slapd.values(&dn("bob"), "telephoneNumber"), Vec::<String>::new());
}

#[test]
fn many_writes_share_one_connection() {
    let Some(slapd) = Slapd::start(&crowd(300), UNLIMITED, Certificate::Good) else { return };
    let settings = slapd.settings();
    let entries = read(settings.clone()).expect("people").entries;
    let number =
        |(index, entry): (usize, &Arc<DirectoryEntry>)| change(entry, Field::Number, None, &(1000 + index).to_string());
    let writes: Vec<DirectoryWrite> = entries.iter().enumerate().map(number).collect();
    assert!(write(&settings, &writes).iter().all(is_written));
    let after = read(settings).expect("people").entries;
    let numbers = |entries: &[Arc<DirectoryEntry>]| -> Vec<(DirectoryKey, String)> {
        let number = |entry: &DirectoryEntry| entry.attributes.of(Field::Number).next().map(ToString::to_string);
        entries.iter().map(|entry| (entry.key.clone(), number(entry).unwrap_or_default())).collect()
    };
    let given = |(index, entry): (usize, &Arc<DirectoryEntry>)| (entry.key.clone(), (1000 + index).to_string());
    let expected: Vec<(DirectoryKey, String)> = entries.iter().enumerate().map(given).collect();
    assert_eq!(numbers(&after), expected);
}

#[test]
fn a_server_that_dies_while_writing_is_an_error_with_the_certain_outcomes_kept() {
    let Some(slapd) = Slapd::start(&crowd(200), UNLIMITED, Certificate::Good) else { return };
    let settings = slapd.settings();
    let entries = read(settings.clone()).expect("people").entries;
    let writes: Vec<DirectoryWrite> = entries.iter().map(|entry| change(entry, Field::Number, None, "201")).collect();
    let mut certain = 0;
    let outcome = LdapDirectory::new(settings).write(&writes, Path::new("none"), &mut |_, outcome| {
        assert!(is_written(outcome));
        certain += 1;
        if certain == 10 {
            slapd.signal("-KILL");
        }
    });
    assert!(outcome.is_err());
    assert!((10..200).contains(&certain), "{certain}");
}
