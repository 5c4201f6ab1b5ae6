//! Reading people from a real slapd.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use directory::{Security, ServerSettings, test_connection};
use md5::{Digest, Md5};
use sync_core::directory::{Coverage, DirectoryErrorKind};
use sync_core::person::{AccountState, DirectoryEntry, DirectoryKey, Field, Photo};

use crate::support::{self, Certificate, NOW, PEOPLE, Slapd, UNLIMITED, crowd, person, read, read_after, read_with};

fn by_dn<'a>(entries: &'a [Arc<DirectoryEntry>], uid: &str) -> &'a DirectoryEntry {
    let dn = format!("uid={uid},{PEOPLE}");
    entries.iter().find(|entry| entry.dn == dn).unwrap_or_else(|| panic!("{dn} was not found"))
}

#[test]
fn more_people_than_a_page_are_read_whole() {
    let Some(slapd) = Slapd::start(&crowd(1203), UNLIMITED, Certificate::Good) else { return };
    let spool = tempfile::tempdir().expect("a directory");
    let mut counts = Vec::new();
    let snapshot = read_with(slapd.settings(), &BTreeMap::new(), spool.path(), &mut |count| {
        counts.push(count);
        ControlFlow::Continue(())
    });
    let snapshot = snapshot.expect("people");
    assert_eq!(snapshot.coverage, Coverage::Full);
    assert_eq!(snapshot.entries.len(), 1203);
    assert!(counts.starts_with(&[500, 1000, 1203]), "{counts:?}");
    let keys: Vec<&DirectoryKey> = snapshot.entries.iter().map(|entry| &entry.key).collect();
    assert!(keys.is_sorted());
    assert!(keys.iter().all(|key| key.as_str().len() == 36), "entryUUIDs");
    assert_eq!(snapshot.warnings, Vec::<String>::new());
}

#[test]
fn a_size_limit_is_an_error_and_not_a_short_list() {
    let Some(slapd) = Slapd::start(&crowd(501), "", Certificate::Good) else { return };
    let error = read(slapd.settings()).expect_err("the limit");
    assert_eq!(error.kind, DirectoryErrorKind::Limit);
    assert!(error.message.contains("size limit") && error.message.contains("olcLimits"), "{}", error.message);
    let steps = test_connection(&slapd.settings(), NOW);
    let last = steps.last().expect("a step");
    assert_eq!((last.step, last.ok), ("filter", false));
    assert!(last.text.contains("size limit"), "{}", last.text);
}

#[test]
fn values_and_status_arrive_as_the_directory_has_them() {
    let text = |value: &str| STANDARD.encode(value);
    let people = [
        person("many", "telephoneNumber: 9\ntelephoneNumber: 201\nmail: B@x.test\nmail: a@x.test\nmobile: +1 2\n"),
        person("name", &format!("displayName:: {}\nemployeeType: active\n", text("Пётр Ёлкин 王"))),
        person("gone", "displayName: Gone\nemployeeType: Disabled\n"),
        person("blank", "displayName:: ICA=\n"),
    ];
    let Some(slapd) = Slapd::start(&people.concat(), UNLIMITED, Certificate::Good) else { return };
    let entries = read(slapd.settings()).expect("people").entries;
    let many = by_dn(&entries, "many");
    assert!(many.attributes.of(Field::Number).eq(["201", "9"].iter()));
    assert!(many.attributes.of(Field::Email).eq(["B@x.test", "a@x.test"].iter()));
    assert!(!many.change_mark.is_empty());
    assert!(by_dn(&entries, "name").attributes.of(Field::Name).eq(["Пётр Ёлкин 王"].iter()));
    assert_eq!(by_dn(&entries, "name").account, AccountState::Active);
    assert_eq!(by_dn(&entries, "gone").account, AccountState::Disabled);
    assert!(!by_dn(&entries, "blank").attributes.has(Field::Name));
}

/// A JPEG of `length` bytes, if that is enough for one; what follows its end tells one from another.
fn image(length: usize, fill: u8) -> Vec<u8> {
    let mut image = include_bytes!("../../../../tests/data/photo.jpg").to_vec();
    image.resize(length, fill);
    image
}

fn photo_line(image: &[u8]) -> String {
    format!("jpegPhoto:: {}\n", STANDARD.encode(image))
}

#[test]
fn photos_are_fetched_once_and_again_after_a_change() {
    let (one, two) = (image(3000, 1), image(2_000_000, 2));
    let people = [
        person("with", &photo_line(&one)),
        person("large", &photo_line(&two)),
        person("small", &photo_line(&image(100, 3))),
        person("none", ""),
    ];
    let Some(slapd) = Slapd::start(&people.concat(), UNLIMITED, Certificate::Good) else { return };
    let spool = tempfile::tempdir().expect("a directory");
    let md5 = |image: &[u8]| -> String { Md5::digest(image).iter().map(|byte| format!("{byte:02x}")).collect() };
    let go_on = &mut |_| ControlFlow::Continue(());
    let first = read_with(slapd.settings(), &BTreeMap::new(), spool.path(), go_on).expect("people").entries;
    assert_eq!(by_dn(&first, "with").photo, Photo::Spooled { md5: md5(&one) });
    assert_eq!(by_dn(&first, "large").photo, Photo::Spooled { md5: md5(&two) });
    assert!(matches!(&by_dn(&first, "small").photo, Photo::Refused(text) if text.contains("100 bytes")));
    assert_eq!(by_dn(&first, "none").photo, Photo::Absent);
    assert_eq!(fs::read(spool.path().join(md5(&two))).expect("the photo"), two);

    let known = first.iter().map(|entry| (entry.key.clone(), entry.change_mark.clone())).collect();
    let three = image(2500, 9);
    slapd.edit(&format!("dn: uid=with,{PEOPLE}\nchangetype: modify\nreplace: jpegPhoto\n{}", photo_line(&three)));
    let second = read_with(slapd.settings(), &known, spool.path(), go_on).expect("people").entries;
    assert_eq!(by_dn(&second, "with").photo, Photo::Spooled { md5: md5(&three) });
    for unchanged in ["large", "small", "none"] {
        assert_eq!(by_dn(&second, unchanged).photo, Photo::NotAsked, "{unchanged}");
    }
    let mut settings = slapd.settings();
    settings.attributes.photo.clear();
    let third = read(settings).expect("people").entries;
    assert!(third.iter().all(|entry| entry.photo == Photo::NotAsked));
}

#[test]
fn many_photos_come_by_one_search() {
    let photos = (0..250u8).map(|n| person(&format!("f{n:03}"), &photo_line(&image(60_000, n)))).collect::<String>();
    let Some(slapd) = Slapd::start(&photos, UNLIMITED, Certificate::Good) else { return };
    let spool = tempfile::tempdir().expect("a directory");
    let go_on = &mut |_| ControlFlow::Continue(());
    let snapshot = read_with(slapd.settings(), &BTreeMap::new(), spool.path(), go_on).expect("people");
    assert!(snapshot.entries.iter().all(|entry| matches!(entry.photo, Photo::Spooled { .. })));
    assert_eq!(fs::read_dir(spool.path()).expect("the spool").count(), 250);
}

#[test]
fn the_photos_of_some_come_by_identifier_and_those_of_disabled_people_not_at_all() {
    let photo = |n: u8| photo_line(&image(2000, n));
    let disabled = (0..5).map(|n| person(&format!("d{n}"), &format!("employeeType: disabled\n{}", photo(n))));
    let people: String = (0..250).map(|n| person(&format!("f{n:03}"), &photo(n))).chain(disabled).collect();
    let Some(slapd) = Slapd::start(&people, UNLIMITED, Certificate::Good) else { return };
    let marks = |entries: &[Arc<DirectoryEntry>]| -> BTreeMap<DirectoryKey, String> {
        entries.iter().map(|entry| (entry.key.clone(), entry.change_mark.clone())).collect()
    };
    let mut known = marks(&read(slapd.settings()).expect("people").entries);
    // 120 of 255 are not known: more than one filter names, fewer than half.
    let unknown: Vec<DirectoryKey> = known.keys().take(120).cloned().collect();
    unknown.iter().for_each(|key| drop(known.remove(key)));
    let spool = tempfile::tempdir().expect("a directory");
    let go_on = &mut |_| ControlFlow::Continue(());
    let entries = read_with(slapd.settings(), &known, spool.path(), go_on).expect("people").entries;
    for entry in &entries {
        let asked = unknown.contains(&entry.key) && entry.account == AccountState::Active;
        assert_eq!(matches!(entry.photo, Photo::Spooled { .. }), asked, "{}", entry.dn);
        assert!(asked || entry.photo == Photo::NotAsked, "{}", entry.dn);
    }
    // Everybody is unknown at the first read, and the disabled are not asked for then either.
    let first = read_with(slapd.settings(), &BTreeMap::new(), spool.path(), go_on).expect("people").entries;
    assert_eq!(first.iter().filter(|entry| entry.photo == Photo::NotAsked).count(), 5);
}

#[test]
fn a_lost_right_to_read_photos_clears_none() {
    let uids = ["ann", "bob", "cem", "dan"];
    let photos: String = uids.iter().zip(1..).map(|(uid, n)| person(uid, &photo_line(&image(2000, n)))).collect();
    let logins = ["blind", "filter"].map(|uid| person(uid, "userPassword: pbxpass\n")).concat();
    // The PBX's account reads photos; one login may only search for them, the others do not see them.
    let access = format!(
        "access to attrs=jpegPhoto by dn.exact=\"{}\" read by dn.exact=\"uid=filter,{PEOPLE}\" search by * none",
        support::PBX
    );
    let more = format!("{UNLIMITED}\n{access}");
    let Some(slapd) = Slapd::start(&(photos + &logins), &more, Certificate::Good) else { return };
    let first = read(slapd.settings()).expect("people").entries;
    let touch = |uid: &str, change: &str| slapd.edit(&format!("dn: uid={uid},{PEOPLE}\nchangetype: modify\n{change}"));
    touch("ann", "replace: mail\nmail: ann@example.test\n");
    for uid in ["blind", "filter"] {
        let mut settings = slapd.settings();
        settings.login = format!("uid={uid},{PEOPLE}");
        let snapshot = read_after(settings, &first).expect("people");
        let ann = by_dn(&snapshot.entries, "ann");
        assert_eq!((&ann.photo, ann.change_mark.as_str()), (&Photo::NotAsked, ""), "{uid}");
        let warning = snapshot.warnings.join("\n");
        assert!(warning.contains("jpegPhoto can no longer be read") && warning.contains(uid), "{warning}");
    }
    // With the right, a photo that was cleared is cleared.
    touch("ann", "delete: jpegPhoto\n");
    let snapshot = read_after(slapd.settings(), &first).expect("people");
    assert_eq!(by_dn(&snapshot.entries, "ann").photo, Photo::Absent);
    assert!(!by_dn(&snapshot.entries, "ann").change_mark.is_empty());
    assert_eq!(snapshot.warnings, Vec::<String>::new());
    // When everybody changed, nobody can tell, and the server's answer counts.
    let mail = "replace: mail\nmail: all@example.test\n";
    uids.iter().for_each(|uid| touch(uid, mail));
    let mut blind = slapd.settings();
    blind.login = format!("uid=blind,{PEOPLE}");
    let snapshot = read_after(blind, &first).expect("people");
    assert!(uids.iter().all(|uid| by_dn(&snapshot.entries, uid).photo == Photo::Absent));
}

#[test]
fn a_server_that_stalls_or_dies_in_the_middle_is_an_error() {
    for (signal, expected) in [("-STOP", "did not answer within"), ("-KILL", "the answer is incomplete")] {
        let Some(slapd) = Slapd::start(&crowd(1200), UNLIMITED, Certificate::Good) else { return };
        let mut settings = slapd.settings();
        settings.timeouts.operation = Duration::from_secs(1);
        let spool = tempfile::tempdir().expect("a directory");
        let begun = Instant::now();
        let outcome = read_with(settings, &BTreeMap::new(), spool.path(), &mut |_| {
            slapd.signal(signal);
            ControlFlow::Continue(())
        });
        let error = outcome.expect_err("no people");
        assert_eq!(error.kind, DirectoryErrorKind::Connection, "{}", error.message);
        assert!(error.message.contains(expected), "{}", error.message);
        assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    }
}

#[test]
fn the_caller_may_break_off() {
    let Some(slapd) = Slapd::start(&crowd(600), UNLIMITED, Certificate::Good) else { return };
    let spool = tempfile::tempdir().expect("a directory");
    let outcome = read_with(slapd.settings(), &BTreeMap::new(), spool.path(), &mut |_| ControlFlow::Break(()));
    assert_eq!(outcome.expect_err("no people").kind, DirectoryErrorKind::Cancelled);
}

#[test]
fn nothing_is_left_running_after_a_read() {
    let Some(slapd) = Slapd::start(&crowd(3), UNLIMITED, Certificate::Good) else { return };
    let open = || fs::read_dir("/proc/self/fd").expect("the open files").count();
    read(slapd.settings()).expect("people");
    let before = open();
    // Other tests of this process open files too: the number must come back to where it was, not grow by reads.
    for _ in 0..40 {
        read(slapd.settings()).expect("people");
    }
    let end = Instant::now() + Duration::from_secs(20);
    while open() > before + 30 {
        assert!(Instant::now() < end, "{} files stay open, {before} were before", open());
        thread::yield_now();
    }
}

#[test]
fn wrong_places_logins_and_filters_are_explained() {
    let Some(slapd) = Slapd::start(&crowd(2), UNLIMITED, Certificate::Good) else { return };
    let check = |change: &dyn Fn(&mut directory::ServerSettings), kind, expected: &str| {
        let mut settings = slapd.settings();
        change(&mut settings);
        let error = read(settings).expect_err(expected);
        assert_eq!(error.kind, kind, "{}", error.message);
        assert!(error.message.contains(expected), "{} does not say {expected}", error.message);
    };
    check(
        &|s| s.organizational_unit = "ou=nobody".to_owned(),
        DirectoryErrorKind::Base,
        "what exists of it is \"dc=example",
    );
    check(&|s| s.base_dn = "dc=other,dc=test".to_owned(), DirectoryErrorKind::Base, "does not exist");
    check(&|s| s.base_dn = "dc=,=".to_owned(), DirectoryErrorKind::Base, "not a valid DN");
    check(&|s| s.user_filter = "(cn=a".to_owned(), DirectoryErrorKind::Settings, "character 6");
    check(&|s| s.password = "wrong".into(), DirectoryErrorKind::SignIn, "wrong login or password");
    check(&|s| s.password = "".into(), DirectoryErrorKind::SignIn, "no password");
    check(&|s| s.login = "pbx".to_owned(), DirectoryErrorKind::SignIn, "must be a full DN");
    check(&|s| s.port = 1, DirectoryErrorKind::Unreachable, "nothing listens on 127.0.0.1:1");
    check(
        &|s| s.hosts = vec!["no-such-host.invalid".to_owned()],
        DirectoryErrorKind::Unreachable,
        "cannot be resolved",
    );
    check(&|s| s.hosts.clear(), DirectoryErrorKind::Settings, "no directory server is named");
}

#[test]
fn the_next_host_takes_over_and_is_named() {
    let Some(slapd) = Slapd::start(&crowd(2), UNLIMITED, Certificate::Good) else { return };
    let mut settings = slapd.settings();
    // Nothing listens on 127.0.0.2: the servers are bound to 127.0.0.1 alone.
    settings.hosts = vec!["127.0.0.2".to_owned(), "127.0.0.1".to_owned()];
    let snapshot = read(settings.clone()).expect("people");
    assert_eq!(snapshot.entries.len(), 2);
    assert!(snapshot.warnings[0].contains("127.0.0.2"), "{:?}", snapshot.warnings);
    let steps = test_connection(&settings, NOW);
    assert!(steps[0].ok && steps[0].text.contains("Tried before"), "{steps:?}");
}

#[test]
fn a_test_shows_every_step() {
    let people = crowd(3) + &person("with", "telephoneNumber: 201\n");
    let Some(slapd) = Slapd::start(&people, UNLIMITED, Certificate::Good) else { return };
    let steps = test_connection(&slapd.settings(), NOW);
    let seen: Vec<(&str, bool)> = steps.iter().map(|step| (step.step, step.ok)).collect();
    assert_eq!(
        seen,
        [("reach", true), ("tls", true), ("sign-in", true), ("base", true), ("filter", true), ("rights", true)]
    );
    assert_eq!(steps[4].count, Some(4));
    let certificate = steps[1].certificate.as_ref().expect("a certificate");
    assert_eq!(certificate.subject_alt_names, ["localhost", "127.0.0.1"]);
    assert!(certificate.pem.starts_with("-----BEGIN CERTIFICATE-----\n"));
    let number = steps[5].attributes.as_ref().expect("attributes").iter().find(|a| a.field == Field::Number);
    let number = number.expect("the number");
    assert_eq!(number.writable, None);
    assert!(
        number.text.contains("only when something is written") && number.text.contains("1 of 4"),
        "{}",
        number.text
    );

    let mut settings = slapd.settings();
    settings.user_filter = "(cn=nobody)".to_owned();
    let last = test_connection(&settings, NOW).pop().expect("a step");
    assert_eq!((last.step, last.ok, last.count), ("filter", false, Some(0)));
    settings.password = "marker-password".into();
    let last = test_connection(&settings, NOW).pop().expect("a step");
    assert_eq!((last.step, last.ok), ("sign-in", false));
    assert!(!format!("{last:?}{settings:?}").contains("marker-password"));
}

#[test]
fn plain_connections_are_for_loopback_only() {
    let Some(slapd) = Slapd::start(&crowd(2), UNLIMITED, Certificate::Good) else { return };
    let plain = support::settings(slapd.port, Security::None);
    assert_eq!(read(plain.clone()).expect("people").entries.len(), 2);
    // 192.0.2.1 is nobody's (RFC 5737); it is refused before a connection is tried.
    let far = ServerSettings { hosts: vec!["192.0.2.1".to_owned()], ..plain };
    let error = read(far).expect_err("a password for everybody to read");
    assert_eq!(error.kind, DirectoryErrorKind::Settings, "{}", error.message);
    assert!(
        error.message.contains("192.0.2.1") && error.message.contains("would travel unencrypted"),
        "{}",
        error.message
    );
}

#[test]
fn photos_that_cannot_be_stored_are_an_error_that_names_the_place() {
    let Some(slapd) = Slapd::start(&person("ann", &photo_line(&image(2000, 1))), "", Certificate::Good) else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let spool = directory.path().join("file");
    fs::write(&spool, "a file, not a directory").expect("a file");
    let go_on = &mut |_| ControlFlow::Continue(());
    let error = read_with(slapd.settings(), &BTreeMap::new(), &spool, go_on).expect_err("no place");
    assert_eq!(error.kind, DirectoryErrorKind::Other, "{}", error.message);
    assert!(error.message.contains(&spool.display().to_string()), "{}", error.message);
}
