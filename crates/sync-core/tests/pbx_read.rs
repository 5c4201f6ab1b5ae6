//! Opening the PBX's database and reading the snapshot.

mod pbx_support;

use std::fs;

use pbx_support::{Fixture, NOTHING, create, md5, photo, vault};
use sync_core::pbx::{EmailHolder, Holder, Pbx, Task};
use sync_core::person::Field;

#[test]
fn employees_are_people_with_a_general_number() {
    let fixture = Fixture::new();
    fixture.sql("INSERT INTO m_Users (id, username) VALUES (200, 'No number')");
    let snapshot = fixture.open().read().expect("reads");
    let seen: Vec<_> = snapshot
        .employees
        .iter()
        .map(|employee| {
            assert_eq!(employee.values[Field::Secret].len(), 32, "a fingerprint and no secret");
            let shown = Field::ALL.into_iter().filter(|field| *field != Field::Secret);
            let values: Vec<&str> = shown.map(|field| employee.values[field].as_str()).collect();
            format!("{} {} {} {}", employee.user_id, employee.sip_uniqid, employee.sip_disabled, values.join("|"))
        })
        .collect();
    assert_eq!(
        seen,
        [
            "110 SIP-PHONE-00000000000000000000000000000110 false Anna Berg||79260000001|201|",
            "111 SIP-PHONE-00000000000000000000000000000111 true Boris Cole||79260000002|202|",
            "112 SIP-PHONE-00000112 false Clara Dorn|||203|",
            "113 SIP-PHONE-00000113 false Dora \"DD\" O'Hara (Sales)|dora@example.com|79260000004|204|",
        ]
    );
    assert_eq!(snapshot.warnings, NOTHING);
}

#[test]
fn numbers_settings_routes_and_uses() {
    let fixture = Fixture::new();
    let snapshot = fixture.open().read().expect("reads");
    assert_eq!(snapshot.numbers.len(), 16);
    assert_eq!(snapshot.numbers["201"], Holder { kind: "SIP".into(), user_id: Some(110), label: "Anna Berg".into() });
    assert_eq!(snapshot.numbers["800"].kind, "PARKING");
    assert_eq!((snapshot.extension_length, snapshot.language.as_str()), (3, "ru-ru"));
    let outgoing: Vec<_> =
        snapshot.outgoing.iter().map(|route| (route.begins_with.as_str(), route.rest, route.name.as_str())).collect();
    assert_eq!(
        outgoing,
        [("(7|8)", Some(10), "Long distance"), ("810", None, "Anything abroad"), ("112", Some(0), "Emergency")]
    );
    assert_eq!(
        snapshot.uses["201"],
        ["queue Sales", "IVR menu Main menu", "incoming route default action", "forwarding of 202"]
    );
    assert_eq!(snapshot.uses["203"], ["queue Support", "work-time rule Night"]);
    assert_eq!(snapshot.uses["79260000002"], ["incoming route no. 2"]);
    assert_eq!(snapshot.uses["79260000004"], ["forwarding of 202"]);
    assert!(!snapshot.uses.contains_key("79260000001"), "one's own forwardings are no use by others");
}

#[test]
fn settings_have_mikopbx_defaults() {
    let fixture = Fixture::new();
    for sql in [
        "DELETE FROM m_PbxSettings",
        "INSERT INTO m_PbxSettings VALUES ('PBXInternalExtensionLength', '0'), ('PBXLanguage', NULL)",
    ] {
        fixture.sql(sql);
        let snapshot = fixture.open().read().expect("reads");
        assert_eq!((snapshot.extension_length, snapshot.language.as_str()), (3, "en-en"));
    }
}

#[test]
fn photos_in_every_form_mikopbx_stored_them() {
    let fixture = Fixture::new();
    fs::write(fixture.photo_of(110), photo(1)).expect("file");
    fixture.sql(
        "UPDATE m_Users SET avatar = '{\"path\":\"/avatars/user_111.jpg\",\"hash\":\"00112233445566778899AABBCCDDEEFF\"}' WHERE id = 111;
         UPDATE m_Users SET avatar = 'data:image/png;base64,aGVsbG8=' WHERE id = 112;
         UPDATE m_Users SET avatar = '{broken' WHERE id = 113;",
    );
    let snapshot = fixture.open().read().expect("reads");
    let hashes: Vec<_> = snapshot.employees.iter().map(|employee| employee.values[Field::Photo].as_str()).collect();
    assert_eq!(hashes, [md5(&photo(1)).as_str(), "00112233445566778899aabbccddeeff", md5(b"hello").as_str(), ""]);
    assert_eq!(snapshot.warnings.len(), 1);
    assert!(snapshot.warnings[0].contains("employee 113"), "{:?}", snapshot.warnings);
}

#[test]
fn a_legacy_photo_is_never_read_from_outside_the_avatars() {
    let fixture = Fixture::new();
    fs::write(fixture.directory.path().join("secret"), photo(9)).expect("file");
    fixture.sql("UPDATE m_Users SET avatar = '/avatars/../../secret' WHERE id = 110");
    let snapshot = fixture.open().read().expect("reads");
    assert_eq!(snapshot.employees[0].values[Field::Photo], "");
}

#[test]
fn odd_people_are_read_with_a_warning() {
    let fixture = Fixture::new();
    fixture.sql(
        "INSERT INTO m_Extensions (id, number, type, userid, is_general_user_number, callerid) VALUES
            (300, '299', 'SIP', 112, '1', 'Second'), (301, '202', 'QUEUE', NULL, '0', 'Twice');
         UPDATE m_Extensions SET userid = '' WHERE id = 150;
         UPDATE m_Users SET username = CAST(x'ff41' AS TEXT) WHERE id = 111;",
    );
    let snapshot = fixture.open().read().expect("reads");
    assert_eq!(snapshot.employees[2].values[Field::Number], "203");
    assert_eq!(snapshot.employees[1].values[Field::Name], "\u{fffd}A");
    assert_eq!(snapshot.numbers["202"].kind, "SIP");
    assert_eq!(snapshot.warnings.len(), 2);
    assert!(snapshot.warnings[0].contains("202 stands twice"), "{:?}", snapshot.warnings);
    assert!(snapshot.warnings[1].contains("2 internal numbers"), "{:?}", snapshot.warnings);
}

#[test]
fn an_older_shape_is_read() {
    let fixture = Fixture::new();
    fixture.sql(
        "DROP TABLE m_OutWorkTimes; DROP TABLE m_IvrMenuActions; DROP TABLE m_OutgoingRoutingTable; DROP TABLE m_CallQueues;
         ALTER TABLE m_Extensions DROP COLUMN search_index;",
    );
    let snapshot = fixture.open().read().expect("reads");
    assert_eq!(snapshot.employees.len(), 4);
    assert_eq!(snapshot.outgoing, []);
    assert_eq!(snapshot.uses["202"], ["queue QUEUE-0001"]);
}

#[test]
fn reading_does_not_wait_for_a_writer() {
    let fixture = Fixture::new();
    fixture.sql("PRAGMA journal_mode = WAL");
    let writer = fixture.connect();
    writer.execute_batch("BEGIN IMMEDIATE; DELETE FROM m_Users").expect("SQL");
    assert_eq!(fixture.open().read().expect("reads").employees.len(), 4);
}

#[test]
fn what_is_no_pbx_database_is_refused_and_nothing_is_made() {
    let fixture = Fixture::new();
    let directory = fixture.directory.path();
    fs::write(directory.join("text"), "this is certainly no database, however long it may be".repeat(100))
        .expect("file");
    fs::write(directory.join("empty"), "").expect("file");
    for (name, expected) in [
        ("missing", "does not exist"),
        ("media", "is not a file"),
        ("text", "not an SQLite database"),
        ("empty", "m_Users.id"),
    ] {
        let path = directory.join(name);
        let error =
            Pbx::open(&path, &fixture.media(), &fixture.spool(), &fixture.replaced(), vault()).expect_err("refused");
        assert!(error.message.contains(expected), "{error}");
        assert!(error.message.contains(&path.display().to_string()), "{error}");
    }
    assert!(!directory.join("missing").exists());
    assert_eq!(fs::read(directory.join("empty")).expect("file"), b"");
}

#[test]
fn the_journal_mode_is_left_alone() {
    for mode in ["wal", "delete"] {
        let fixture = Fixture::new();
        fixture.sql(&format!("PRAGMA journal_mode = {mode}"));
        fixture.open().read().expect("reads");
        assert_eq!(fixture.text("PRAGMA journal_mode"), mode);
    }
}

#[test]
fn the_snapshot_names_every_holder_that_apply_refuses_by() {
    let fixture = Fixture::new();
    fixture.sql(
        "INSERT INTO m_ExtensionForwardingRights (id, extension) VALUES (99, '205');
         INSERT INTO m_ExternalPhones (id, extension, uniqid, disabled) VALUES (98, '79990000001', 'EXTERNAL-LOST', '0');
         UPDATE m_Sip SET extension = '206' WHERE id = 76;
         INSERT INTO m_Users (id, email, username) VALUES (900, ' Eve@X.test', 'Ghost'), (901, 'EVE@x.test', NULL);",
    );
    let snapshot = fixture.open().read().expect("reads");
    for (number, label) in [
        ("205", "record 99 of m_ExtensionForwardingRights"),
        ("79990000001", "record 98 of m_ExternalPhones"),
        ("206", "record 76 of m_Sip"),
    ] {
        let leftover = Holder { kind: Holder::LEFTOVER.into(), user_id: None, label: label.into() };
        assert_eq!(snapshot.numbers[number], leftover);
        let field = if number.len() > 8 { Field::Mobile } else { Field::Number };
        let mut task = create(1, &[(Field::Name, "New"), (Field::Number, "299")]);
        task.values[field] = number.into();
        let (at, reason) = fixture.refused(Task::Create(task));
        assert_eq!(at, Some(field));
        assert!(reason.contains("leftover"), "{reason}");
    }
    let holder = |user_id, name: &str| EmailHolder { user_id, name: name.to_owned() };
    assert_eq!(snapshot.emails["eve@x.test"], [holder(900, "Ghost"), holder(901, "")]);
    assert_eq!(snapshot.emails["dora@example.com"], [holder(113, "Dora \"DD\" O'Hara (Sales)")]);
    assert!(!snapshot.emails.contains_key(""));
    let task = create(1, &[(Field::Name, "New"), (Field::Number, "299"), (Field::Email, "eve@x.test")]);
    assert_eq!(fixture.refused(Task::Create(task)).0, Some(Field::Email));
}
