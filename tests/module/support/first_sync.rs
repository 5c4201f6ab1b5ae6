//! The story every directory must be able to tell: awkward people meet a PBX that is in use.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::directory::Directory;
use super::pbx::{Pbx, md5_hex};
use super::people::Someone;
use super::world::{Sides, World, count, preview, row, sync};

/// What becomes of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Becomes an employee with a number from the pool, which is written to the directory.
    Created,
    /// Becomes an employee with the number the directory asked for.
    CreatedAs(&'static str),
    /// Becomes an employee with a number from the pool; the directory's own value stays.
    CreatedKeepingDirectory,
    /// Is the employee with this id already.
    Adopted(i64),
    /// Waits for a decision; nothing is made.
    Conflict,
}

/// The people, with what must become of each. Built from what the demo PBX holds, so that they meet its employees.
pub(crate) fn awkward_people(pbx: &Pbx) -> Vec<(Someone, Fate)> {
    let (james, melanie) = (pbx.employee(110), pbx.employee(112));
    let queue = queue_number(pbx);
    let abroad = format!("+7 {}", &james.mobile[1..]);
    vec![
        (
            Someone::new("anna", "Анна Ёлкина-Щукина")
                .mail("anna@example.test")
                .mobile("+7 (903) 111-22-33")
                .with_photo(),
            Fate::Created,
        ),
        (Someone::new("sean", "Seán O'Brien").mail("sean.o'brien@example.test"), Fate::Created),
        (Someone::new("wang", "王小明").mail("wang@example.test").mobile("+86 138 0013 8000"), Fate::Created),
        (Someone::new("ivan1", "Иван Петров").mail("ivan1@example.test"), Fate::Created),
        (Someone::new("ivan2", "Иван Петров").mail("ivan2@example.test"), Fate::Created),
        (Someone::new("plain", "Nothing But A Name"), Fate::Created),
        (Someone::new("wanda", "Wanda Wanted").mail("wanda@example.test").number("250"), Fate::CreatedAs("250")),
        (
            Someone::new("outside", "Otto Outside").mail("otto@example.test").number("+7 495 123-45-67"),
            Fate::CreatedKeepingDirectory,
        ),
        (Someone::new("queue", "Quentin Queue").mail("quentin@example.test").number(&queue), Fate::Conflict),
        (Someone::new("james", &james.name).mail("james@example.test").mobile(&abroad), Fate::Adopted(110)),
        (Someone::new("melanie1", &melanie.name), Fate::Conflict),
        (Someone::new("melanie2", &melanie.name), Fate::Conflict),
    ]
}

/// Tells the whole story over `security` against a directory that holds the awkward people.
pub(crate) fn tell(world: &World, directory: &Directory, people: &[(Someone, Fate)], security: &str) {
    let (mut plugin, id) = world.install(&directory.settings(security));
    let before = world.sides(directory);
    let employees_before = world.pbx().employees();

    let plan = preview(&mut plugin, &id);
    world.assert_unchanged(directory, &before, "the preview");
    preview_names_every_fate(&plan, people);

    let answer = sync(&mut plugin, &id);
    rows_tell_every_fate(answer.list(), people);
    world.assert_rows_are_mikopbx(112);
    world.assert_announced_exactly(&before.pbx);
    employees_stand_once(world.pbx(), people, employees_before.len());
    directory_holds_the_numbers(world, directory, people, &before);
    the_adopted_employee_is_the_same(world, directory, people);
    photos_are_files(world.pbx(), people);
    let conflicts = plugin.request("get-server-conflicts", json!({"id": id}));
    conflicts_have_reasons(conflicts.list(), people);

    world.installation.forget();
    let after = world.sides(directory);
    let again = sync(&mut plugin, &id);
    world.assert_unchanged(directory, &after, "the second synchronisation");
    let conflicts = people.iter().filter(|(_, fate)| *fate == Fate::Conflict).count();
    assert_eq!(count(again.list(), "SKIPPED"), people.len() - conflicts, "{}", again.body);
    assert_eq!(count(again.list(), "CONFLICT"), conflicts, "{}", again.body);
    plugin.tick().data();
    world.assert_unchanged(directory, &after, "the tick");
    assert_eq!(world.installation.announced(), [], "nothing changed, so nothing is announced");
    no_secret_is_logged(world, directory);
}

fn queue_number(pbx: &Pbx) -> String {
    let sql = "select number from m_Extensions where type = 'QUEUE' order by number limit 1";
    pbx.open().query_row(sql, [], |row| row.get(0)).expect("the demo PBX has a queue")
}

fn preview_names_every_fate(plan: &Value, people: &[(Someone, Fate)]) {
    let rows = plan["people"].as_array().expect("a preview lists people");
    assert_eq!(rows.len(), people.len(), "{plan}");
    let mut expected: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (person, fate) in people {
        let action = match fate {
            Fate::Created | Fate::CreatedAs(_) | Fate::CreatedKeepingDirectory => "create",
            Fate::Adopted(_) => "adopt",
            Fate::Conflict => "conflict",
        };
        *expected.entry((&person.name, action)).or_default() += 1;
    }
    let mut shown: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for person in rows {
        let words = |key: &str| person[key].as_str().unwrap_or_else(|| panic!("{key} is missing in {person}"));
        *shown.entry((words("name"), words("action"))).or_default() += 1;
    }
    assert_eq!(shown, expected);
    let total =
        |action: &str| expected.iter().filter(|((_, name), _)| *name == action).map(|(_, count)| count).sum::<usize>();
    for (key, action) in [("create", "create"), ("adopt", "adopt"), ("conflict", "conflict")] {
        assert_eq!(plan["counts"][key], json!(total(action)), "{}", plan["counts"]);
    }
}

fn rows_tell_every_fate(rows: &[Value], people: &[(Someone, Fate)]) {
    assert_eq!(rows.len(), people.len(), "one row per person");
    let conflicts = people.iter().filter(|(_, fate)| *fate == Fate::Conflict).count();
    assert_eq!(count(rows, "CONFLICT"), conflicts, "{rows:#?}");
    assert_eq!(count(rows, "UPDATED"), people.len() - conflicts, "{rows:#?}");
    for row in rows.iter().filter(|row| row["usersSyncResult"] == json!("CONFLICT")) {
        assert!(row["reason"].as_str().is_some_and(|reason| reason.len() > 10), "a conflict without a reason: {row}");
    }
}

fn employees_stand_once(pbx: &Pbx, people: &[(Someone, Fate)], before: usize) {
    let created: Vec<&Someone> =
        people.iter().filter(|(_, fate)| is_created(*fate)).map(|(person, _)| person).collect();
    let employees = pbx.employees();
    assert_eq!(employees.len(), before + created.len());
    for person in created {
        let found = employees.iter().filter(|row| row.name == person.name && row.email == person.mail).count();
        assert_eq!(found, 1, "{} stands {found} times", person.name);
    }
}

fn directory_holds_the_numbers(world: &World, directory: &Directory, people: &[(Someone, Fate)], before: &Sides) {
    let numbers = directory.by_login("telephoneNumber");
    for (person, fate) in people {
        let stands = &numbers[&person.login];
        let employee = || {
            let rows = world.pbx().employees();
            rows.into_iter().find(|row| row.name == person.name && row.email == person.mail).expect("an employee")
        };
        match fate {
            Fate::Created => assert_eq!(*stands, [employee().number], "{}", person.name),
            Fate::CreatedAs(number) => {
                assert_eq!(employee().number, *number);
                assert_eq!(*stands, [*number]);
            }
            Fate::CreatedKeepingDirectory => {
                assert_eq!(*stands, std::slice::from_ref(&person.number), "an outside line is left alone")
            }
            Fate::Adopted(id) => assert_eq!(*stands, [world.pbx().employee(*id).number], "{}", person.name),
            Fate::Conflict => {
                let dn = directory.dn(&person.login);
                assert_eq!(directory.dump()[&dn], before.directory[&dn], "an entry in conflict is left alone");
            }
        }
    }
}

fn the_adopted_employee_is_the_same(world: &World, directory: &Directory, people: &[(Someone, Fate)]) {
    for (person, fate) in people {
        if let Fate::Adopted(id) = fate {
            let employee = world.pbx().employee(*id);
            assert_eq!((&employee.name, &employee.email), (&person.name, &person.mail));
            assert_eq!(
                directory.values(&person.login, "mobile"),
                std::slice::from_ref(&person.mobile),
                "its spelling stays"
            );
            let digits = |text: &str| text.chars().filter(char::is_ascii_digit).skip(1).collect::<String>();
            assert_eq!(
                digits(&employee.mobile),
                digits(&person.mobile),
                "a difference in spelling alone changes nothing"
            );
        }
    }
}

fn photos_are_files(pbx: &Pbx, people: &[(Someone, Fate)]) {
    for (person, _) in people.iter().filter(|(person, fate)| person.photo && is_created(*fate)) {
        let employee = pbx.employee_named(&person.name);
        let bytes = std::fs::read(pbx.media.join(format!("avatars/user_{}.jpg", employee.user_id))).expect("a photo");
        assert_eq!(md5_hex(&bytes), md5_hex(&person.photo_bytes()), "the photo of {}", person.name);
        assert!(employee.avatar.contains(&md5_hex(&bytes)), "{}", employee.avatar);
    }
}

fn conflicts_have_reasons(conflicts: &[Value], people: &[(Someone, Fate)]) {
    for (person, _) in people.iter().filter(|(_, fate)| *fate == Fate::Conflict) {
        let about = conflicts.iter().find(|conflict| conflict["person"].to_string().contains(&person.name));
        let about = about.unwrap_or_else(|| panic!("no conflict about {}: {conflicts:#?}", person.name));
        let errors = about["errors"].as_array().expect("a conflict lists errors");
        assert!(!errors.is_empty(), "a conflict without a reason: {about}");
    }
}

fn no_secret_is_logged(world: &World, directory: &Directory) {
    let log = world.installation.log_text();
    assert!(!log.contains(&directory.service.1), "the log holds the password of the directory's account");
    let connection = world.pbx().open();
    let mut statement = connection.prepare("select secret from m_Sip where length(secret) > 8").expect("the peers");
    let secrets = statement.query_map([], |row| row.get::<_, String>(0)).expect("the peers");
    for secret in secrets {
        assert!(!log.contains(&secret.expect("a secret")), "the log holds a SIP secret");
    }
}

fn is_created(fate: Fate) -> bool {
    matches!(fate, Fate::Created | Fate::CreatedAs(_) | Fate::CreatedKeepingDirectory)
}

/// The people alone, for the directory to hold.
pub(crate) fn only_people(people: &[(Someone, Fate)]) -> Vec<Someone> {
    people.iter().map(|(person, _)| person.clone()).collect()
}

/// The first synchronisation of many people who all become employees with numbers `from` to `to`.
pub(crate) fn many(world: &World, directory: &Directory, people: &[Someone], security: &str, from: u32, to: u32) {
    let mut settings = directory.settings(security);
    settings["numberFrom"] = json!(from.to_string());
    settings["numberTo"] = json!(to.to_string());
    let (mut plugin, id) = world.install(&settings);
    let before = world.pbx().dump();
    let known = world.pbx().employees().len();

    let answer = sync(&mut plugin, &id);
    assert_eq!(count(answer.list(), "UPDATED"), people.len(), "{}", answer.information());
    world.assert_rows_are_mikopbx(112);
    world.assert_announced_exactly(&before);
    let employees = world.pbx().employees();
    assert_eq!(employees.len(), known + people.len());
    let numbers = directory.by_login("telephoneNumber");
    for person in people {
        let employee = employees.iter().find(|row| row.email == person.mail).expect("everyone is an employee");
        assert_eq!(numbers[&person.login], std::slice::from_ref(&employee.number));
        let number: u32 = employee.number.parse().expect("a number");
        assert!((from..=to).contains(&number), "{number} is not from the pool");
    }

    world.installation.forget();
    let after = world.sides(directory);
    let again = sync(&mut plugin, &id);
    assert_eq!(count(again.list(), "SKIPPED"), people.len(), "{}", again.information());
    world.assert_unchanged(directory, &after, "the second synchronisation");
    assert_eq!(row(again.list(), &people[0].name)["usersSyncResult"], json!("SKIPPED"));
}
