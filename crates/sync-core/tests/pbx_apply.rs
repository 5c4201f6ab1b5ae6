//! Single creates and updates: the rows, events and replaced values of MikoPBX's own saves; photos; locks; crashes.

mod pbx_support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use pbx_support::{Fixture, NOTHING, RecordingHost, create, differences, md5, photo, short, update, vault};
use secrecy::SecretString;
use sync_core::pbx::{ModelEvent, Pbx, ReplacedValue, Task, TaskOutcome};
use sync_core::person::Field::{self, Email, Mobile, Name, Number, Photo};

/// Applies one update of one employee and compares what changed and what is announced.
#[track_caller]
fn check_update(fixture: &Fixture, user_id: i64, pairs: &[(Field, &str)], changes: &[&str], events: &[&str]) {
    let before = fixture.dump();
    let applied = fixture.applied(Task::Update(update(fixture, user_id, pairs)));
    assert_eq!(differences(&before, &fixture.dump()), changes);
    assert_eq!(short(&applied.events), events);
    assert_eq!(fixture.inconsistencies(), NOTHING);
}

#[test]
fn a_new_employee_without_a_mobile() {
    let fixture = Fixture::new();
    let before = fixture.dump();
    let task = create(1, &[(Name, "Иванов Пётр Ёжик"), (Email, "p.ivanov@example.com"), (Number, "250")]);
    let applied = fixture.applied(Task::Create(task));
    assert_eq!(
        differences(&before, &fixture.dump()),
        [
            "+ m_ExtensionForwardingRights #29 extension: 250",
            "+ m_ExtensionForwardingRights #29 forwarding: ",
            "+ m_ExtensionForwardingRights #29 forwardingonbusy: ",
            "+ m_ExtensionForwardingRights #29 forwardingonunavailable: ",
            "+ m_ExtensionForwardingRights #29 ringlength: #45",
            "+ m_Extensions #182 callerid: Иванов Пeтр Eжик",
            "+ m_Extensions #182 is_general_user_number: 1",
            "+ m_Extensions #182 number: 250",
            "+ m_Extensions #182 public_access: 1",
            "+ m_Extensions #182 search_index: иванов пётр ёжик иванов пeтр eжик p.ivanov@example.com 250 ",
            "+ m_Extensions #182 show_in_phonebook: 1",
            "+ m_Extensions #182 type: SIP",
            "+ m_Extensions #182 userid: #114",
            "+ m_Sip #79 cid_custom_header: ",
            "+ m_Sip #79 cid_did_debug: 0",
            "+ m_Sip #79 cid_parser_end: ",
            "+ m_Sip #79 cid_parser_regex: ",
            "+ m_Sip #79 cid_parser_start: ",
            "+ m_Sip #79 cid_source: default",
            "+ m_Sip #79 description: Иванов Пётр Ёжик",
            "+ m_Sip #79 did_custom_header: ",
            "+ m_Sip #79 did_parser_end: ",
            "+ m_Sip #79 did_parser_regex: ",
            "+ m_Sip #79 did_parser_start: ",
            "+ m_Sip #79 did_source: default",
            "+ m_Sip #79 disabled: 0",
            "+ m_Sip #79 disablefromuser: 0",
            "+ m_Sip #79 dtmfmode: auto",
            "+ m_Sip #79 enableRecording: #1",
            "+ m_Sip #79 extension: 250",
            "+ m_Sip #79 fromdomain: ",
            "+ m_Sip #79 fromuser: ",
            "+ m_Sip #79 host: ",
            "+ m_Sip #79 manualattributes: ",
            "+ m_Sip #79 nat: ",
            "+ m_Sip #79 networkfilterid: NULL",
            "+ m_Sip #79 noregister: 0",
            "+ m_Sip #79 outbound_proxy: ",
            "+ m_Sip #79 port: #5060",
            "+ m_Sip #79 qualify: 1",
            "+ m_Sip #79 qualifyfreq: #60",
            "+ m_Sip #79 registration_type: ",
            "+ m_Sip #79 secret: Kj8sHd72LmQp4Xz9Vb3T",
            "+ m_Sip #79 transport: udp,tcp",
            "+ m_Sip #79 type: peer",
            "+ m_Sip #79 uniqid: SIP-PHONE-ABCDEF01",
            "+ m_Sip #79 username: ",
            "+ m_Sip #79 weakSecret: #0",
            "+ m_Users #114 avatar: ",
            "+ m_Users #114 email: p.ivanov@example.com",
            "+ m_Users #114 language: ru-ru",
            "+ m_Users #114 username: Иванов Пётр Ёжик",
        ]
    );
    assert_eq!(applied.user_id, 114);
    assert_eq!(applied.replaced, []);
    assert_eq!(
        short(&applied.events),
        [
            "Users 114 email,username,language,avatar,id",
            "Extensions 182 number,type,callerid,userid,show_in_phonebook,public_access,is_general_user_number,search_index,id",
            "Sip 79 uniqid,disabled,extension,type,registration_type,host,port,username,secret,transport,outbound_proxy,\
             fromuser,fromdomain,nat,dtmfmode,qualifyfreq,qualify,networkfilterid,manualattributes,disablefromuser,\
             noregister,description,enableRecording,weakSecret,cid_source,cid_custom_header,cid_parser_start,\
             cid_parser_end,cid_parser_regex,did_source,did_custom_header,did_parser_start,did_parser_end,\
             did_parser_regex,cid_did_debug,id",
            "ExtensionForwardingRights 29 extension,forwarding,forwardingonbusy,forwardingonunavailable,ringlength,id",
        ]
    );
}

#[test]
fn a_new_employee_with_a_mobile_gets_the_forwardings_of_the_web_form() {
    let fixture = Fixture::new();
    let before = fixture.dump();
    let task = create(2, &[(Name, "Mob Fwd"), (Number, "252"), (Mobile, "79990000001")]);
    let applied = fixture.applied(Task::Create(task));
    let mut changes = differences(&before, &fixture.dump());
    changes.retain(|line| !line.starts_with("+ m_Sip") && !line.starts_with("+ m_Users"));
    assert_eq!(
        changes,
        [
            "+ m_ExtensionForwardingRights #29 extension: 252",
            "+ m_ExtensionForwardingRights #29 forwarding: 79990000001",
            "+ m_ExtensionForwardingRights #29 forwardingonbusy: 79990000001",
            "+ m_ExtensionForwardingRights #29 forwardingonunavailable: 79990000001",
            "+ m_ExtensionForwardingRights #29 ringlength: #45",
            "+ m_Extensions #182 callerid: Mob Fwd",
            "+ m_Extensions #182 is_general_user_number: 1",
            "+ m_Extensions #182 number: 252",
            "+ m_Extensions #182 public_access: 1",
            "+ m_Extensions #182 search_index: mob fwd mob fwd  252 ",
            "+ m_Extensions #182 show_in_phonebook: 1",
            "+ m_Extensions #182 type: SIP",
            "+ m_Extensions #182 userid: #114",
            "+ m_Extensions #183 callerid: Mob Fwd",
            "+ m_Extensions #183 is_general_user_number: 1",
            "+ m_Extensions #183 number: 79990000001",
            "+ m_Extensions #183 public_access: 1",
            "+ m_Extensions #183 search_index: mob fwd mob fwd  252 79990000001",
            "+ m_Extensions #183 show_in_phonebook: 1",
            "+ m_Extensions #183 type: EXTERNAL",
            "+ m_Extensions #183 userid: #114",
            "+ m_ExternalPhones #22 dialstring: 79990000001",
            "+ m_ExternalPhones #22 disabled: 0",
            "+ m_ExternalPhones #22 extension: 79990000001",
            "+ m_ExternalPhones #22 manualdialplanincoming: ",
            "+ m_ExternalPhones #22 manualdialplanoutgoing: ",
            "+ m_ExternalPhones #22 uniqid: EXTERNAL-ABCDEF02",
        ]
    );
    let order: Vec<_> = applied.events.iter().map(|event| event.model.rsplit('\\').next().expect("a class")).collect();
    assert_eq!(order, ["Users", "Extensions", "Sip", "ExtensionForwardingRights", "Extensions", "ExternalPhones"]);
}

#[test]
fn forwardings_stay_empty_where_the_task_says_so() {
    let fixture = Fixture::new();
    let mut task = create(2, &[(Name, "Mob"), (Number, "252"), (Mobile, "79990000001")]);
    task.forward_to_mobile = false;
    fixture.applied(Task::Create(task));
    let sql = "SELECT forwarding || forwardingonbusy || forwardingonunavailable || ringlength FROM m_ExtensionForwardingRights WHERE extension = '252'";
    assert_eq!(fixture.text(sql), "45");
}

#[test]
fn what_mikopbx_would_refuse_is_refused() {
    let fixture = Fixture::new();
    let good = [(Name, "New"), (Number, "250"), (Mobile, "79990000001"), (Email, "new@example.com")];
    let with = |pairs: &[(Field, &str)]| {
        let mut task = create(3, &good);
        for (field, value) in pairs {
            task.values[*field] = (*value).into();
        }
        Task::Create(task)
    };
    for (field, value, expected) in [
        (Name, "", "needs a name"),
        (Name, "a union select b", "SQL"),
        (Number, "", "2 to 8 digits"),
        (Number, "2", "2 to 8 digits"),
        (Number, "201", "taken on the PBX by SIP 'Anna Berg'"),
        (Number, "2001", "taken on the PBX by QUEUE 'Sales'"),
        (Number, "800", "PARKING"),
        (Mobile, "079", "2 to 15 digits"),
        (Mobile, "79260000001", "taken on the PBX by EXTERNAL"),
        (Mobile, "250", "wanted twice"),
        (Email, "nobody", "does not accept the e-mail"),
        (Email, "DORA@example.com", "belongs to the PBX's user 113"),
    ] {
        let (at, reason) = fixture.refused(with(&[(field, value)]));
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(at, if expected == "wanted twice" { Some(Mobile) } else { Some(field) });
    }
    for (secret, expected) in [("12345", "default password"), ("aaaaaaaaaaaa", "too weak"), ("", "5 to 64")] {
        let mut task = create(3, &good);
        task.secret = SecretString::from(secret);
        assert!(fixture.refused(Task::Create(task)).1.contains(expected));
    }
    let mut task = create(3, &good);
    task.sip_uniqid = "SIP-PHONE-00000112".to_owned();
    assert!(fixture.refused(Task::Create(task)).1.contains("must be chosen anew"));
    fixture.applied(with(&[]));
}

#[test]
fn a_number_that_a_leftover_row_holds_is_not_free() {
    let fixture = Fixture::new();
    fixture.sql("INSERT INTO m_ExtensionForwardingRights (extension) VALUES ('250')");
    let (field, reason) = fixture.refused(Task::Create(create(1, &[(Name, "New"), (Number, "250")])));
    assert_eq!(field, Some(Number));
    assert!(reason.contains("m_ExtensionForwardingRights"), "{reason}");
}

#[test]
fn a_rename() {
    let fixture = Fixture::new();
    check_update(
        &fixture,
        113,
        &[(Name, "Dora Renamed")],
        &[
            "~ m_Extensions #180 callerid: Dora DD OHara Sales -> Dora Renamed",
            "~ m_Extensions #180 search_index: dora \"dd\" o'hara (sales) dora dd ohara sales dora@example.com 204  -> dora renamed dora renamed dora@example.com 204 ",
            "~ m_Extensions #181 callerid: Dora DD OHara Sales -> Dora Renamed",
            "~ m_Extensions #181 search_index: dora \"dd\" o'hara (sales) dora dd ohara sales dora@example.com 204 79260000004 -> dora renamed dora renamed dora@example.com 204 79260000004",
            "~ m_Sip #78 description: Dora \"DD\" O'Hara (Sales) -> Dora Renamed",
            "~ m_Users #113 username: Dora \"DD\" O'Hara (Sales) -> Dora Renamed",
        ],
        &[
            "Users 113 username",
            "Extensions 180 callerid,search_index",
            "Sip 78 description",
            "Extensions 181 callerid,search_index",
        ],
    );
}

#[test]
fn a_number_change_takes_every_relation_along() {
    let fixture = Fixture::new();
    check_update(
        &fixture,
        110,
        &[(Number, "261")],
        &[
            "~ m_CallQueueMembers #1 extension: 201 -> 261",
            "~ m_CallQueues #20 redirect_to_extension_if_empty: 201 -> 261",
            "~ m_ExtensionForwardingRights #24 extension: 201 -> 261",
            "~ m_ExtensionForwardingRights #25 forwardingonbusy: 201 -> 261",
            "~ m_Extensions #144 number: 201 -> 261",
            "~ m_Extensions #144 search_index: anna berg anna berg  201 79260000001 -> anna berg anna berg  261 ",
            "~ m_Extensions #145 search_index:  -> anna berg anna berg  261 79260000001",
            "~ m_IncomingRoutingTable #1 extension: 201 -> 261",
            "~ m_IvrMenu #5 timeout_extension: 201 -> 261",
            "~ m_Sip #74 extension: 201 -> 261",
        ],
        &[
            "Sip 74 extension",
            "CallQueues 20 redirect_to_extension_if_empty",
            "CallQueueMembers 1 extension",
            "IncomingRoutingTable 1 extension",
            "ExtensionForwardingRights 24 extension",
            "ExtensionForwardingRights 25 forwardingonbusy",
            "IvrMenu 5 timeout_extension",
            "Extensions 144 number,search_index",
            "Extensions 145 search_index",
        ],
    );
}

#[test]
fn a_mobile_change_takes_everybodys_forwardings_along() {
    let fixture = Fixture::new();
    check_update(
        &fixture,
        113,
        &[(Mobile, "79990000002")],
        &[
            "~ m_ExtensionForwardingRights #25 forwardingonunavailable: 79260000004 -> 79990000002",
            "~ m_Extensions #181 number: 79260000004 -> 79990000002",
            "~ m_Extensions #181 search_index: dora \"dd\" o'hara (sales) dora dd ohara sales dora@example.com 204 79260000004 -> dora \"dd\" o'hara (sales) dora dd ohara sales dora@example.com 204 79990000002",
            "~ m_ExternalPhones #21 dialstring: 79260000004 -> 79990000002",
            "~ m_ExternalPhones #21 extension: 79260000004 -> 79990000002",
        ],
        &[
            "ExternalPhones 21 extension,dialstring",
            "ExtensionForwardingRights 25 forwardingonunavailable",
            "Extensions 181 number,search_index",
        ],
    );
}

#[test]
fn own_forwardings_at_the_mobile_follow_it_and_ring() {
    let fixture = Fixture::new();
    fixture.sql("UPDATE m_ExtensionForwardingRights SET ringlength = 0, forwardingonbusy = '203' WHERE id = 24");
    let before = fixture.dump();
    fixture.applied(Task::Update(update(&fixture, 110, &[(Mobile, "79990000002")])));
    let mut changes = differences(&before, &fixture.dump());
    changes.retain(|line| line.contains("Forwarding"));
    assert_eq!(
        changes,
        [
            "~ m_ExtensionForwardingRights #24 forwarding: 79260000001 -> 79990000002",
            "~ m_ExtensionForwardingRights #24 forwardingonunavailable: 79260000001 -> 79990000002",
            "~ m_ExtensionForwardingRights #24 ringlength: #0 -> #45",
        ]
    );
}

#[test]
fn a_dial_string_of_its_own_stays() {
    let fixture = Fixture::new();
    fixture.applied(Task::Update(update(&fixture, 111, &[(Mobile, "79990000003")])));
    assert_eq!(
        fixture.text("SELECT extension || ' ' || dialstring FROM m_ExternalPhones WHERE id = 19"),
        "79990000003 0079260000002"
    );
    assert_eq!(fixture.text("SELECT extension FROM m_IncomingRoutingTable WHERE id = 2"), "79990000003");
}

#[test]
fn a_first_mobile_fills_empty_forwardings() {
    let fixture = Fixture::new();
    fixture.sql("UPDATE m_ExtensionForwardingRights SET forwardingonbusy = '201' WHERE id = 26");
    let before = fixture.dump();
    let applied = fixture.applied(Task::Update(update(&fixture, 112, &[(Mobile, "79990000005")])));
    let mut changes = differences(&before, &fixture.dump());
    changes.retain(|line| !line.starts_with("+ m_Extensions"));
    assert_eq!(
        changes,
        [
            "~ m_ExtensionForwardingRights #26 forwarding: NULL -> 79990000005",
            "~ m_ExtensionForwardingRights #26 forwardingonunavailable:  -> 79990000005",
            "~ m_ExtensionForwardingRights #26 ringlength: #0 -> #45",
            "+ m_ExternalPhones #22 dialstring: 79990000005",
            "+ m_ExternalPhones #22 disabled: 0",
            "+ m_ExternalPhones #22 extension: 79990000005",
            "+ m_ExternalPhones #22 manualdialplanincoming: ",
            "+ m_ExternalPhones #22 manualdialplanoutgoing: ",
            "+ m_ExternalPhones #22 uniqid: EXTERNAL-FEDC0112",
        ]
    );
    let order: Vec<_> = applied.events.iter().map(|event| event.model.rsplit('\\').next().expect("a class")).collect();
    assert_eq!(order, ["ExtensionForwardingRights", "Extensions", "ExternalPhones"]);
    assert_eq!(fixture.inconsistencies(), NOTHING);
}

#[test]
fn a_removed_mobile_takes_its_rows_and_own_forwardings() {
    let fixture = Fixture::new();
    check_update(
        &fixture,
        110,
        &[(Mobile, "")],
        &[
            "~ m_ExtensionForwardingRights #24 forwarding: 79260000001 -> ",
            "~ m_ExtensionForwardingRights #24 forwardingonbusy: 79260000001 -> ",
            "~ m_ExtensionForwardingRights #24 forwardingonunavailable: 79260000001 -> ",
            "~ m_ExtensionForwardingRights #24 ringlength: #45 -> #0",
            "~ m_Extensions #144 search_index: anna berg anna berg  201 79260000001 -> anna berg anna berg  201 ",
            "- m_Extensions #145",
            "- m_ExternalPhones #18",
        ],
        &[
            "Extensions 144 search_index",
            "ExtensionForwardingRights 24 forwarding,forwardingonbusy,forwardingonunavailable,ringlength",
            "-ExternalPhones 18",
            "-Extensions 145",
        ],
    );
}

#[test]
fn a_mobile_that_others_use_is_not_removed() {
    let fixture = Fixture::new();
    for (user, expected) in [(111, "incoming route no. 2"), (113, "forwarding of 202")] {
        let (field, reason) = fixture.refused(Task::Update(update(&fixture, user, &[(Mobile, "")])));
        assert_eq!(field, Some(Mobile));
        assert!(reason.contains(expected), "{reason}");
    }
}

#[test]
fn an_email_change_touches_nothing_else_of_an_old_employee() {
    let fixture = Fixture::new();
    check_update(
        &fixture,
        112,
        &[(Email, "Clara@example.com")],
        &[
            "~ m_Extensions #148 search_index: clara dorn clara dorn  203  -> clara dorn clara dorn clara@example.com 203 ",
            "~ m_Users #112 email: NULL -> Clara@example.com",
        ],
        &["Users 112 email", "Extensions 148 search_index"],
    );
}

#[test]
fn everything_at_once_is_one_event_per_record() {
    let fixture = Fixture::new();
    let md5 = fixture.spool_photo(&photo(3));
    let pairs = [
        (Name, "Anna Cole"),
        (Email, "a@example.com"),
        (Number, "299"),
        (Mobile, "79990000009"),
        (Photo, md5.as_str()),
    ];
    let task = update(&fixture, 110, &pairs);
    let wanted = task.new.clone();
    let applied = fixture.applied(Task::Update(task));
    let mut records: Vec<_> = applied.events.iter().map(|event| (&event.model, &event.record_id)).collect();
    records.sort();
    records.dedup();
    assert_eq!(records.len(), applied.events.len());
    assert_eq!(fixture.open().read().expect("reads").employees[0].values, wanted);
    assert_eq!(fixture.inconsistencies(), NOTHING);
}

#[test]
fn a_change_that_is_none_writes_nothing() {
    let fixture = Fixture::new();
    let task = update(&fixture, 113, &[(Name, "Dora \"DD\" O'Hara (Sales)"), (Number, "204"), (Mobile, "79260000004")]);
    let applied = fixture.applied(Task::Update(task));
    assert_eq!((applied.events.len(), applied.replaced.len()), (0, 0));
}

#[test]
fn replaced_values_are_kept_without_the_secret() {
    let fixture = Fixture::new();
    let applied = fixture.applied(Task::Update(update(&fixture, 110, &[(Mobile, ""), (Name, "Anna New")])));
    let kept = |table: &str, row: i64, column: &str, old: Option<&str>, new: Option<&str>| ReplacedValue {
        table: table.to_owned(),
        row,
        column: column.to_owned(),
        old: old.map(str::to_owned),
        new: new.map(str::to_owned),
    };
    for expected in [
        kept("m_Users", 110, "username", Some("Anna Berg"), Some("Anna New")),
        kept("m_Sip", 74, "description", Some("Anna Berg"), Some("Anna New")),
        kept("m_ExtensionForwardingRights", 24, "ringlength", Some("45"), Some("0")),
        kept("m_ExternalPhones", 18, "uniqid", Some("EXTERNAL-00000110"), None),
        kept("m_ExternalPhones", 18, "manualdialplanincoming", None, None),
    ] {
        assert!(applied.replaced.contains(&expected), "{expected:?}");
    }
    assert!(!format!("{applied:?}").contains("first secret"));
}

#[test]
fn changes_made_meanwhile_are_not_overwritten() {
    let fixture = Fixture::new();
    let task = update(&fixture, 113, &[(Name, "Other"), (Email, "x@example.com")]);
    fixture.sql("UPDATE m_Users SET email = 'newer@example.com' WHERE id = 113");
    let (field, reason) = fixture.refused(Task::Update(task.clone()));
    assert_eq!(field, Some(Email));
    assert!(reason.contains("newer@example.com"), "{reason}");
    let mut other = task.clone();
    other.sip_uniqid = "SIP-PHONE-FFFFFFFF".to_owned();
    assert!(fixture.refused(Task::Update(other)).1.contains("another employee"));
    let mut gone = task;
    gone.user_id = 999;
    assert!(fixture.refused(Task::Update(gone)).1.contains("no longer exists"));
    let forwards = update(&fixture, 111, &[(Number, "277")]);
    fixture.sql("UPDATE m_ExtensionForwardingRights SET forwarding = '277' WHERE id = 25");
    assert!(fixture.refused(Task::Update(forwards)).1.contains("cannot become their own number"));
}

#[test]
fn an_empty_name_or_number_is_refused() {
    let fixture = Fixture::new();
    for field in [Name, Number] {
        assert_eq!(fixture.refused(Task::Update(update(&fixture, 110, &[(field, "")]))).0, Some(field));
    }
}

#[test]
fn an_older_or_extended_shape_is_written() {
    let fixture = Fixture::new();
    fixture.sql(
        "ALTER TABLE m_Extensions DROP COLUMN search_index;
         ALTER TABLE m_Sip DROP COLUMN cid_source;
         ALTER TABLE m_Sip ADD COLUMN receive_calls_without_auth VARCHAR(1) NULL;
         ALTER TABLE m_Users DROP COLUMN language;
         DROP TABLE m_ExternalPhones;
         CREATE TABLE m_ExternalPhones (uniqid VARCHAR(0), \"order\" VARCHAR(0) NOT NULL, level INTEGER NOT NULL,
            id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, extension VARCHAR(0), dialstring VARCHAR(0), disabled VARCHAR(1));
         DELETE FROM m_Extensions WHERE type = 'EXTERNAL'; DELETE FROM m_ExtensionForwardingRights;
         DELETE FROM m_IncomingRoutingTable;",
    );
    let task = create(1, &[(Name, "New"), (Number, "250"), (Mobile, "79990000001")]);
    let applied = fixture.applied(Task::Create(task));
    assert_eq!(
        short(&applied.events).last().expect("events"),
        "ExternalPhones 1 uniqid,order,level,extension,dialstring,disabled,id"
    );
    assert_eq!(fixture.text("SELECT '<' || \"order\" || level || '>' FROM m_ExternalPhones"), "<0>");
    assert_eq!(fixture.text("SELECT receive_calls_without_auth FROM m_Sip WHERE extension = '250'"), "NULL");
    fixture.applied(Task::Update(update(&fixture, 110, &[(Number, "260"), (Name, "Anna")])));
    fixture.applied(Task::Update(update(&fixture, 110, &[(Mobile, "79990000007")])));
    assert_eq!(fixture.inconsistencies(), NOTHING);
}

#[test]
fn a_photo_is_set_changed_and_removed() {
    let fixture = Fixture::new();
    let owner = fs::metadata(fixture.media()).expect("media").uid();
    let first = fixture.spool_photo(&photo(1));
    let applied = fixture.applied(Task::Create(create(1, &[(Name, "New"), (Number, "250"), (Photo, &first)])));
    let user = applied.user_id;
    let path = fixture.photo_of(user);
    assert_eq!(fs::read(&path).expect("photo"), photo(1));
    let metadata = fs::metadata(&path).expect("photo");
    assert_eq!((metadata.permissions().mode() & 0o777, metadata.uid()), (0o644, owner));
    let column = format!("{{\"path\":\"/avatars/user_{user}.jpg\",\"hash\":\"{first}\"}}");
    assert_eq!(fixture.text(&format!("SELECT avatar FROM m_Users WHERE id = {user}")), column);

    let second = fixture.spool_photo(&photo(2));
    let applied = fixture.applied(Task::Update(update(&fixture, user, &[(Photo, &second)])));
    assert_eq!(short(&applied.events), [format!("Users {user} avatar")]);
    assert_eq!(fs::read(&path).expect("photo"), photo(2));
    assert_eq!(fs::read(fixture.replaced().join(&first)).expect("kept"), photo(1));

    fixture.applied(Task::Update(update(&fixture, user, &[(Photo, "")])));
    assert!(!path.exists());
    assert_eq!(fixture.text(&format!("SELECT avatar FROM m_Users WHERE id = {user}")), "");
    assert_eq!(fs::read(fixture.replaced().join(&second)).expect("kept"), photo(2));

    // An undo finds the bytes among the replaced photos.
    fs::remove_file(fixture.spool().join(&first)).expect("spool");
    fixture.applied(Task::Update(update(&fixture, user, &[(Photo, &first)])));
    assert_eq!(fs::read(&path).expect("photo"), photo(1));
    assert_eq!(hidden_files(&fixture), 0);
}

fn hidden_files(fixture: &Fixture) -> usize {
    let entries = fs::read_dir(fixture.media().join("avatars")).expect("avatars");
    entries.filter(|entry| entry.as_ref().expect("entry").file_name().to_string_lossy().starts_with('.')).count()
}

#[test]
fn photos_kept_in_the_column_go_to_a_file_not_to_the_journal() {
    let fixture = Fixture::new();
    fixture.sql("UPDATE m_Users SET avatar = 'data:image/png;base64,aGVsbG8=' WHERE id = 113");
    let new = fixture.spool_photo(&photo(4));
    let applied = fixture.applied(Task::Update(update(&fixture, 113, &[(Photo, &new)])));
    assert_eq!(fs::read(fixture.replaced().join(md5(b"hello"))).expect("kept"), b"hello");
    assert!(!format!("{applied:?}").contains("aGVsbG8"));
}

#[test]
fn a_photo_that_cannot_be_stored_does_not_stop_the_person() {
    let fixture = Fixture::new();
    let short_one = fixture.spool_photo(b"\xff\xd8\xff");
    let text = fixture.spool_photo(&[b'a'; 2000]);
    let damaged = md5(b"something else");
    fs::write(fixture.spool().join(&damaged), photo(1)).expect("spool");
    for (tag, photo, expected) in [
        (1, md5(b"missing").as_str(), "not in the spool"),
        (2, &short_one, "none below 1024"),
        (3, &text, "neither JPEG"),
        (4, &damaged, "damaged"),
        (5, "../../etc/passwd", "no valid MD5"),
    ] {
        let number = (250 + tag).to_string();
        let applied = fixture.applied(Task::Create(create(tag, &[(Name, "New"), (Number, &number), (Photo, photo)])));
        assert_eq!(applied.notes.len(), 1);
        assert_eq!(applied.notes[0].field, Some(Photo));
        assert!(applied.notes[0].text.contains(expected), "{:?}", applied.notes);
        assert_eq!(fixture.text(&format!("SELECT avatar FROM m_Users WHERE id = {}", applied.user_id)), "");
    }
    let (field, reason) = fixture.refused(Task::Update(update(&fixture, 113, &[(Photo, &text)])));
    assert_eq!(field, Some(Photo));
    assert!(reason.contains("neither JPEG"), "{reason}");
    let applied = fixture.applied(Task::Update(update(&fixture, 113, &[(Photo, &text), (Name, "Dora")])));
    assert_eq!(applied.notes.len(), 1);
    assert_eq!(short(&applied.events)[0], "Users 113 username");
}

#[test]
fn a_failed_commit_puts_the_old_photo_back() {
    let fixture = Fixture::new();
    let first = fixture.spool_photo(&photo(1));
    fixture.applied(Task::Update(update(&fixture, 113, &[(Photo, &first)])));
    let second = fixture.spool_photo(&photo(2));
    let task = Task::Update(update(&fixture, 113, &[(Photo, &second)]));
    let reader = fixture.connect();
    // In rollback-journal mode a reader lets BEGIN IMMEDIATE pass and makes COMMIT fail with "busy".
    reader.execute_batch("PRAGMA journal_mode = DELETE; BEGIN; SELECT count(*) FROM m_Users;").expect("SQL");
    let before = fixture.dump();
    let error = fixture.open().apply(std::slice::from_ref(&task), &RecordingHost::default()).expect_err("locked");
    assert!(error.message.contains("10 seconds"), "{error}");
    assert_eq!(fixture.dump(), before);
    assert_eq!(fs::read(fixture.photo_of(113)).expect("photo"), photo(1));
    assert_eq!(hidden_files(&fixture), 0);
    reader.execute_batch("COMMIT").expect("SQL");
    fixture.applied(task);
    assert_eq!(fs::read(fixture.photo_of(113)).expect("photo"), photo(2));
}

#[test]
fn files_of_a_process_that_died_are_tidied_up() {
    let fixture = Fixture::new();
    let avatars = fixture.media().join("avatars");
    fs::write(avatars.join(".ldap-sync-new-0-abc"), photo(1)).expect("file");
    fs::write(avatars.join(".ldap-sync-old-user_112.jpg"), photo(2)).expect("file");
    fixture.sql("UPDATE m_Users SET avatar = '/avatars/user_112.jpg' WHERE id = 112");
    let md5 = fixture.spool_photo(&photo(3));
    fixture.applied(Task::Update(update(&fixture, 113, &[(Photo, &md5)])));
    assert_eq!(hidden_files(&fixture), 0);
    assert_eq!(fs::read(fixture.photo_of(112)).expect("put back"), photo(2));
}

#[test]
fn a_lock_held_by_somebody_else_is_reported_after_the_wait() {
    let fixture = Fixture::new();
    fixture.sql("PRAGMA journal_mode = WAL");
    let task = Task::Update(update(&fixture, 113, &[(Name, "Dora")]));
    let other = fixture.connect();
    other.execute_batch("BEGIN IMMEDIATE").expect("SQL");
    let host = RecordingHost::default();
    let error = fixture.open().apply(&[task], &host).expect_err("locked");
    assert!(error.message.contains(&fixture.database().display().to_string()), "{error}");
    assert!(error.message.contains("another program has held its lock for 10 seconds"), "{error}");
    assert!(host.now.get() >= 10_000);
    assert!(!host.held.get());
    assert_eq!(host.pauses.borrow()[..5], [50, 100, 200, 400, 500]);
}

#[test]
fn a_refused_mutex_is_reported_after_the_wait() {
    let fixture = Fixture::new();
    let task = Task::Update(update(&fixture, 113, &[(Name, "Dora")]));
    let host = RecordingHost::default();
    host.refuses.set(true);
    let before = fixture.dump();
    let error = fixture.open().apply(&[task], &host).expect_err("busy");
    assert!(error.message.contains("write mutex was not free for 10 seconds"), "{error}");
    assert_eq!((fixture.dump(), host.taken.get()), (before, 0));
}

#[test]
fn a_lock_that_is_released_in_time_is_no_error() {
    let fixture = Fixture::new();
    let task = Task::Update(update(&fixture, 113, &[(Name, "Dora")]));
    let other = fixture.connect();
    other.execute_batch("BEGIN IMMEDIATE").expect("SQL");
    let host = RecordingHost::default();
    *host.during_pause.borrow_mut() = Some(Box::new(move || drop(other.execute_batch("ROLLBACK"))));
    let outcomes = fixture.open().apply(&[task], &host).expect("applies");
    assert!(matches!(outcomes[0], TaskOutcome::Applied(_)));
    assert_eq!((host.taken.get(), host.held.get()), (2, false));
}

#[test]
fn committed_changes_are_found_after_a_crash() {
    let fixture = Fixture::new();
    let photo_md5 = fixture.spool_photo(&photo(5));
    let create_task =
        Task::Create(create(1, &[(Name, "New"), (Number, "250"), (Mobile, "79990000001"), (Photo, &photo_md5)]));
    let update_task = Task::Update(update(&fixture, 110, &[(Number, "299"), (Email, "a@example.com")]));
    let mut pbx = fixture.open();
    for task in [create_task, update_task] {
        let stored: Task = serde_json::from_str(&serde_json::to_string(&task).expect("JSON")).expect("JSON");
        assert_eq!(pbx.find_applied(&stored).expect("reads"), None);
        let applied = fixture.applied(task);
        let found = pbx.find_applied(&stored).expect("reads").expect("found");
        assert_eq!((found.user_id, found.notes.len()), (applied.user_id, 0));
        for event in &applied.events {
            let covered = found.events.iter().any(|other| {
                (&other.model, &other.record_id, &other.action) == (&event.model, &event.record_id, &event.action)
                    && event.changed_fields.iter().all(|field| other.changed_fields.contains(field))
            });
            assert!(covered, "{event:?} is missing in {:?}", found.events);
        }
    }
}

/// Whether the update is found after `sql`, and the fields whose values are not there.
#[track_caller]
fn check_found(applied: bool, pairs: &[(Field, &str)], sql: &str, expected: Option<&[Field]>) {
    let fixture = Fixture::new();
    let task = Task::Update(update(&fixture, 113, pairs));
    let mut events = Vec::new();
    if applied {
        events = fixture.applied(task.clone()).events;
    }
    fixture.sql(sql);
    let found = fixture.open().find_applied(&task).expect("reads");
    let missing = found.as_ref().map(|found| found.notes.iter().filter_map(|note| note.field).collect::<Vec<_>>());
    assert_eq!(missing.as_deref(), expected, "{pairs:?} {sql}");
    for field in found.iter().flat_map(|_| pairs).map(|(field, _)| *field) {
        let holds = found.as_ref().is_some_and(|found| found.holds(field));
        assert_eq!(holds, expected.is_some_and(|gone| !gone.contains(&field)), "{field:?}");
    }
    for event in events {
        let covers = |other: &&ModelEvent| (&other.model, &other.record_id) == (&event.model, &event.record_id);
        assert!(found.as_ref().is_some_and(|found| found.events.iter().any(|other| covers(&other))), "{event:?}");
    }
}

#[test]
fn a_change_that_was_edited_since_is_found_without_what_is_gone() {
    let both = [(Name, "Dora"), (Email, "d@example.com")];
    let email = "UPDATE m_Users SET email = 'newer@example.com' WHERE id = 113";
    check_found(true, &both, "", Some(&[]));
    check_found(true, &both, email, Some(&[Email]));
    check_found(true, &both[1..], email, Some(&[Email]));
    // Nobody can tell whether ours was there before the edit: it is announced, and nothing of it is believed.
    check_found(false, &both, email, Some(&[Name, Email]));
    check_found(false, &both, "", None);
    check_found(false, &both, "UPDATE m_Users SET language = 'ru-ru'", None);
    // What does not change tells nothing.
    check_found(false, &[(Name, "Dora \"DD\" O'Hara (Sales)"), (Email, "d@example.com")], "", None);
    // The queue member and the route follow the number that somebody gave the employee since.
    check_found(
        true,
        &[(Number, "299"), (Mobile, "79990000009")],
        "UPDATE m_Extensions SET number = '298' WHERE number = '299'; UPDATE m_Sip SET extension = '298' WHERE extension = '299';
         UPDATE m_ExtensionForwardingRights SET extension = '298' WHERE extension = '299'",
        Some(&[Number]),
    );
}

#[test]
fn employees_without_a_peer_are_told_apart() {
    let fixture = Fixture::new();
    fixture.sql("DELETE FROM m_Sip WHERE id IN (74, 75)");
    let tasks = [
        Task::Update(update(&fixture, 110, &[(Number, "202"), (Name, "Anna X")])),
        Task::Update(update(&fixture, 111, &[(Number, "201"), (Name, "Boris X")])),
    ];
    let mut pbx = fixture.open();
    for task in &tasks {
        assert_eq!(pbx.find_applied(task).expect("reads"), None);
    }
    let outcomes = fixture.apply(&tasks);
    for (task, user) in tasks.iter().zip([110, 111]) {
        let found = pbx.find_applied(task).expect("reads").expect("found");
        assert_eq!((found.user_id, found.notes.len()), (user, 0));
    }
    assert!(outcomes.iter().all(|outcome| matches!(outcome, TaskOutcome::Applied(_))), "{outcomes:?}");
    assert_eq!(fixture.text("SELECT group_concat(extension) FROM m_CallQueueMembers"), "202,201");
    fixture.sql("UPDATE m_Sip SET uniqid = '' WHERE id = 76");
    let mut unnamed = create(1, &[(Name, "New"), (Number, "203")]);
    unnamed.sip_uniqid.clear();
    assert_eq!(pbx.find_applied(&Task::Create(unnamed)).expect("reads"), None);
}

#[test]
fn an_update_whose_photo_was_left_out_is_found_with_a_note() {
    let fixture = Fixture::new();
    let task = Task::Update(update(&fixture, 113, &[(Name, "Dora"), (Photo, &md5(b"missing"))]));
    fixture.applied(task.clone());
    let found = fixture.open().find_applied(&task).expect("reads").expect("found");
    assert_eq!(found.notes[0].field, Some(Photo));
}

#[test]
fn no_tasks_take_no_lock() {
    let fixture = Fixture::new();
    let host = RecordingHost::default();
    let mut pbx = Pbx::open(&fixture.database(), &fixture.media(), &fixture.spool(), &fixture.replaced(), vault())
        .expect("opens");
    assert_eq!(pbx.apply(&[], &host).expect("nothing"), []);
    assert_eq!(host.taken.get(), 0);
}

/// A process has put a new photo into place and ended; `column` is what `m_Users.avatar` holds. Answers what the file
/// holds after the next look for a crash or the next batch.
#[track_caller]
fn check_swept(column: &str, in_place: Option<&[u8]>, expected: Option<&[u8]>) {
    let old = photo(1);
    for next in ["find", "apply"] {
        let fixture = Fixture::new();
        let left = fixture.media().join("avatars/.ldap-sync-old-user_113.jpg");
        fs::write(&left, &old).expect("file");
        if let Some(bytes) = in_place {
            fs::write(fixture.photo_of(113), bytes).expect("file");
        }
        fixture.sql(&format!("UPDATE m_Users SET avatar = '{column}' WHERE id = 113"));
        let task = Task::Update(update(&fixture, 113, &[(Name, "Dora")]));
        match next {
            "find" => assert_eq!(fixture.open().find_applied(&task).expect("reads"), None),
            _ => drop(fixture.applied(task)),
        }
        assert_eq!(fs::read(fixture.photo_of(113)).ok().as_deref(), expected, "{next}: {column}");
        assert!(!left.exists());
        assert_eq!(fs::read(fixture.replaced().join(md5(&old))).expect("kept"), old);
        if let Some(bytes) = in_place.filter(|bytes| Some(*bytes) != expected) {
            assert_eq!(fs::read(fixture.replaced().join(md5(bytes))).expect("kept"), bytes);
        }
    }
}

#[test]
fn a_kill_between_the_rename_and_the_commit_of_a_photo_is_put_right() {
    let (old, new) = (photo(1), photo(2));
    let column = |bytes: &[u8]| format!("{{\"path\":\"/avatars/user_113.jpg\",\"hash\":\"{}\"}}", md5(bytes));
    // Not committed.
    check_swept(&column(&old), Some(&new), Some(&old));
    check_swept(&column(&old), None, Some(&old));
    check_swept("/avatars/user_113.jpg", Some(&new), Some(&old));
    // Committed.
    check_swept(&column(&new), Some(&new), Some(&new));
    // Committed, and removed on the PBX since.
    check_swept("", None, None);
}

#[test]
fn a_photo_that_was_not_committed_is_not_taken_for_stored() {
    let fixture = Fixture::new();
    fixture.sql("UPDATE m_Users SET avatar = '/avatars/user_113.jpg' WHERE id = 113");
    fs::write(fixture.photo_of(113), photo(1)).expect("file");
    let task = Task::Update(update(&fixture, 113, &[(Photo, &md5(&photo(2)))]));
    fs::rename(fixture.photo_of(113), fixture.media().join("avatars/.ldap-sync-old-user_113.jpg")).expect("renames");
    fs::write(fixture.photo_of(113), photo(2)).expect("file");
    assert_eq!(fixture.open().find_applied(&task).expect("reads"), None);
}
