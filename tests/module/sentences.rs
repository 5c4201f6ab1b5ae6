//! The library's sentences in the page's languages: none is without a translation, no translation is without its sentence,
//! and the page shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use regex::Regex;
use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::have;
use crate::support::people::Someone;
use crate::support::servers::slapd;
use crate::support::site::{Site, check};
use crate::support::world::{World, sync};
use crate::tidy::{read, tracked};

/// Where the sentences come from: files, or directories of them.
const SOURCES: &[&str] =
    &["src/", "crates/sync-core/src/", "crates/directory/src/", "crates/pbx-host/src/mikopbx/call.rs"];

/// Files of tests among them.
const TESTS: &[&str] = &["crates/sync-core/src/plan/tests.rs", "crates/sync-core/src/run/model.rs"];

/// The PHP that has sentences of its own.
const PHP: &str = "mikopbx/Lib/HostProgram.php";

/// What holds a number on the PBX, as the library takes it from `m_Extensions.type`.
const FROM_THE_PBX: &[&str] =
    &["queue", "ivr menu", "conference", "dialplan application", "parking", "modules", "system"];

/// Files whose other sentences only the log tells: why everybody is read instead of those who have changed.
const FOR_THE_LOG: &[&str] =
    &["crates/directory/src/changes.rs", "crates/directory/src/dirsync.rs", "crates/sync-core/src/run/scope.rs"];

/// What looks like a sentence and is never shown as one.
const UNSEEN: &[&str] = &[
    // The key of a conflict.
    "earlier conflict {id}",
    // Names of MikoPBX's columns and of a column's index.
    "end of number",
    // The page has words of its own for these.
    "in use",
    "switched off",
    "not reached",
];

/// Macros that write into the log.
const LOG: &[&str] = &["error", "warn", "info", "debug", "trace", "log"];

#[test]
fn every_sentence_of_the_library_is_translated() {
    let known: BTreeSet<String> = templates().keys().map(|template| form(template)).collect();
    let mut unseen: BTreeSet<&str> = UNSEEN.iter().copied().collect();
    let (mut found, mut missing) = (0, Vec::new());
    for (file, text) in library().into_iter().filter(|(_, text)| is_sentence(text)) {
        if known.contains(&form(&text)) {
            found += 1;
        } else if UNSEEN.contains(&text.as_str()) {
            unseen.remove(text.as_str());
        } else if !FOR_THE_LOG.contains(&file.as_str()) {
            missing.push((file, text));
        }
    }
    assert!(missing.is_empty(), "not in `sentences` of ru.json: {missing:#?}");
    assert!(unseen.is_empty(), "the library does not say this any more: {unseen:?}");
    assert!(found > 400, "only {found} sentences were found; are they read as they are written?");
}

#[test]
fn every_translation_has_its_sentence() {
    let mut said: BTreeSet<String> = library().iter().map(|(_, text)| form(text)).collect();
    said.extend(php());
    said.extend(FROM_THE_PBX.iter().map(|text| (*text).to_owned()));
    let stale: Vec<String> = templates().into_keys().filter(|template| !said.contains(&form(template))).collect();
    assert!(stale.is_empty(), "the library does not say this (any more): {stale:#?}");
}

#[test]
fn a_translation_has_the_places_of_its_sentence() {
    let place = Regex::new(r"\{(\w+)\}").expect("a pattern");
    let places = |text: &str| -> Vec<String> {
        let mut names: Vec<String> = place.captures_iter(text).map(|found| found[1].to_owned()).collect();
        names.sort();
        names
    };
    let mut plural = 0;
    for (template, translation) in templates() {
        let wanted = places(&template);
        let distinct: BTreeSet<&String> = wanted.iter().collect();
        assert_eq!(distinct.len(), wanted.len(), "a place stands twice in {template:?}");
        let texts: Vec<&Value> = match &translation {
            Value::Object(forms) => {
                plural += 1;
                assert!(wanted.iter().any(|name| name == "count"), "no count chooses the form of {template:?}");
                forms.values().collect()
            }
            text => vec![text],
        };
        for text in texts {
            let text = text.as_str().expect("a text");
            assert_eq!(places(text), wanted, "{template:?} is translated as {text:?}");
        }
    }
    assert!(plural > 10, "only {plural} translations have plural forms");
}

/// Sentences put together of others, with what the page makes of them in Russian.
const PUT_TOGETHER: &[(&str, &str)] = &[
    (
        "2 people of the directory have this name, and so has employee 203 (Ann Berg); nobody is guessed",
        "имя совпадает у 2 человек в каталоге, на АТС это: сотрудник 203 (Ann Berg); наугад никто не выбирается",
    ),
    (
        "801 is taken by parking; free it or change it in the directory",
        "801 уже занят: парковка; освободите его или измените в каталоге",
    ),
    (
        "801 is taken by queue \"Sales; office\"; a number from the pool is given instead",
        "801 уже занят: очередь \"Sales; office\"; вместо него выдаётся номер из пула",
    ),
    (
        "employee 201 (Smith, A), employee 202 (name) has the same e-mail address, but name and e-mail differ; nobody is guessed",
        "адрес e-mail совпадает: сотрудник 201 (Smith, A), сотрудник 202 (name), но имя и e-mail различаются; наугад никто не выбирается",
    ),
    (
        "the mobile 79 cannot be removed while the PBX uses it: queue Sales, London, incoming route Main, work-time rule no. 5, forwarding of 201; change that first",
        "мобильный 79 нельзя убрать, пока АТС его использует: очередь Sales, London, входящий маршрут Main, правило нерабочего времени № 5, переадресация с 201; сначала измените это",
    ),
    (
        "3 new, 2 updated, 0 removed; 5 recognised among the employees; held: 20 mobile changed, 1 first run",
        "новых: 3, обновлено: 2, удалено: 0; сопоставлено с сотрудниками: 5; отложено: мобильный (изменено): 20, первый запуск: 1",
    ),
    (
        "TLS (ldaps): the certificate is trusted; it ends on 2027-01-01 00:00:00 UTC",
        "TLS (ldaps): сертификату можно доверять; он действует до 2027-01-01 00:00:00 UTC",
    ),
    (
        "the employee has no photo any more; the photo of Ann stays on the PBX alone",
        "у сотрудника больше нет фото; Ann: фото остаётся только на АТС",
    ),
    ("the filter finds 1 people", "фильтр находит 1 человека"),
    ("the filter finds 25 people", "фильтр находит 25 человек"),
    // The name of an attribute is none of the field it is mapped to.
    (
        "\"cn=a\" may not write mobile of uid=name on b:636: give it that right in the directory (result code 50 insufficientAccessRights)",
        "«cn=a» не может записывать mobile записи uid=name на b:636: дайте это право в каталоге (код результата 50 insufficientAccessRights)",
    ),
    ("a.*b+ is taken by <i>$&</i>", "a.*b+ уже занят: <i>$&</i>"),
];

#[test]
fn sentences_put_together_are_translated_part_by_part() {
    let Some((_world, _plugin, site)) = served(None) else { return };
    let mut browser = Browser::start();
    browser.open(&format!("{}/?lang=ru", site.address), "Серверов каталога пока нет");
    let mut said = |text: &str| {
        let asked = format!("import('/assets/js/sentences.js').then(({{ said }}) => said({}))", json!(text));
        browser.evaluate(&asked).as_str().expect("a text").to_owned()
    };
    for (english, russian) in PUT_TOGETHER {
        assert_eq!(said(english), *russian);
    }
    assert_eq!(said("nobody says this"), "nobody says this");
    let marked = "import('/assets/js/sentences.js').then(({ sentence }) => sentence('nobody says this').lang)";
    assert_eq!(browser.evaluate(marked), json!("en"));
}

#[test]
fn every_screen_tells_in_russian_what_the_library_said_in_english() {
    let mut people = vec![
        Someone::new("park", "Wants Parking").number("801"),
        Someone::new("city", "City Line").number("+44 20 7946 0000"),
        Someone::new("gone", "Gone Away").number("302"),
    ];
    let movers =
        (0..6).map(|at| Someone::new(&format!("m{at}"), &format!("Mover {at}")).mobile(&format!("+4477009000{at}0")));
    people.extend(movers);
    let Some(server) = slapd::start(&people).filter(|_| have("Chromium", &["chromium"], false)) else { return };
    let mut settings = server.settings("ldaps");
    let Some((world, mut plugin, site)) = served(Some(&settings)) else { return };
    let id = json!(1);
    sync(&mut plugin, &id);
    world
        .pbx()
        .execute("INSERT INTO m_IncomingRoutingTable (rulename, extension, priority) VALUES ('Main', '302', 1)", &[]);
    server.modify(&format!("dn: {}\nchangetype: delete\n", server.dn("gone")));
    for at in 0..6 {
        server.set(&format!("m{at}"), "mobile", &format!("+4477009001{at}0"));
    }
    sync(&mut plugin, &id);

    let mut page = Page { browser: Browser::start(), site };
    page.russian(
        "#/servers/1/preview",
        &[
            "801 уже занят: парковка",
            "в telephoneNumber стоит «+44 20 7946 0000»",
            "отложено: сразу у 6 человек на АТС было бы изменено: мобильный",
        ],
    );
    page.russian("#/conflicts", &["Номер занят", "801 уже занят: парковка", "освободите его или измените в каталоге"]);
    page.russian("#/servers/1/found", &["City Line"]);
    page.russian("#/servers/1/leavers", &["входящий маршрут Main"]);
    page.russian("#/runs", &["Вручную"]);
    page.russian("#/runs/1", &["новый в каталоге"]);
    let mover = world.pbx().employee_named("Mover 0").user_id;
    page.russian(&format!("#/people/{mover}"), &["новый в каталоге"]);
    page.russian(
        "#/servers/1/test",
        &["соединение с 127.0.0.1", "сертификату можно доверять", "этот сервер сообщает о правах только при записи"],
    );

    page.browser.press("Синхронизировать");
    page.tells(&[
        "Синхронизация завершена.",
        "всё остальное актуально",
        "отложено: мобильный (изменено): 6",
        "801 уже занят: парковка",
    ]);

    page.russian("#/servers/1/settings", &["Фильтр"]);
    page.browser.set("userFilter", "(broken");
    page.browser.press("Сохранить");
    page.tells(&["ошибка в фильтре, символ"]);

    // Without its authority the server's certificate cannot be verified.
    settings["caCertificate"] = "".into();
    settings["id"] = id.clone();
    plugin.save_server(&settings);
    assert_ne!(plugin.request("sync-ldap-users", json!({ "id": id })).status, 0);
    page.russian("#/servers/1/test", &["Соединение пока не работает", "выдавшему его центру система не доверяет"]);
    for place in ["", "#/runs", "#/runs/4"] {
        page.russian(place, &["сертификат 127.0.0.1"]);
    }
}

/// A module with a server of these settings, if any, and its page.
fn served(settings: Option<&Value>) -> Option<(World, crate::support::host::Plugin, Site)> {
    if !have("Chromium", &["chromium"], false) {
        return None;
    }
    let world = World::new();
    let plugin = match settings {
        Some(settings) => world.install(settings).0,
        None => {
            let mut plugin = world.installation.start();
            plugin.install().data();
            plugin
        }
    };
    let site = Site::start(&world);
    Some((world, plugin, site))
}

/// The page in Russian.
struct Page {
    browser: Browser,
    site: Site,
}

impl Page {
    /// Opens a place, which shows these words and nothing in English.
    #[track_caller]
    fn russian(&mut self, place: &str, words: &[&str]) {
        self.browser.open(&format!("{}/?lang=ru{place}", self.site.address), words[0]);
        self.tells(words);
    }

    /// The same of what is shown now, once the first words are there.
    #[track_caller]
    fn tells(&mut self, words: &[&str]) {
        self.browser.wait_for(words[0]);
        let text = self.browser.text();
        check(&text, words);
        let english = Regex::new(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}").expect("a pattern");
        assert_eq!(english.find(&text).map(|found| found.as_str()), None, "English on the page:\n{text}");
        let foreign = "[...document.querySelectorAll('main [lang=\"en\"]')].map((element) => element.textContent)";
        assert_eq!(self.browser.evaluate(foreign), json!([]));
    }
}

/// The sentences of ru.json with their translations.
fn templates() -> BTreeMap<String, Value> {
    let words: Value = serde_json::from_str(&read("public/assets/i18n/ru.json")).expect("translations are JSON");
    let sentences = words["sentences"].as_object().expect("an object of sentences");
    sentences.iter().map(|(template, translation)| (template.clone(), translation.clone())).collect()
}

/// A sentence with a mark for each place, so that it does not matter what a place is called. `{:?}` writes quotation marks.
fn form(text: &str) -> String {
    let quoted = Regex::new(r"\{[^{}]*:\?\}").expect("a pattern");
    let place = Regex::new(r"\{[^{}]*\}").expect("a pattern");
    place.replace_all(&quoted.replace_all(text, "\"{}\""), "§").into_owned()
}

/// Two words of prose, and no SQL.
fn is_sentence(text: &str) -> bool {
    let prose = Regex::new(r"[a-z]{2,} [a-z]{2,}").expect("a pattern");
    let sql = Regex::new(r"^\s*(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|WHERE)\b").expect("a pattern");
    prose.is_match(&form(text)) && !sql.is_match(text)
}

/// Every text of the library's code with its file.
fn library() -> Vec<(String, String)> {
    let is_ours = |file: &str| SOURCES.iter().any(|source| file.starts_with(source)) && !TESTS.contains(&file);
    let files = tracked().into_iter().map(|file: PathBuf| file.display().to_string());
    let mut texts = Vec::new();
    for file in files.filter(|file| file.ends_with(".rs") && is_ours(file)) {
        let code = TokenStream::from_str(&read(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut found = Vec::new();
        collect(code, &mut found);
        texts.extend(found.into_iter().map(|text| (file.clone(), text)));
    }
    texts
}

/// The texts of a piece of code, without tests, attributes other than `error`, lines of the log and what a panic says.
fn collect(code: TokenStream, texts: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = code.into_iter().collect();
    let mut rest = tokens.as_slice();
    loop {
        rest = match rest {
            [] => return,
            [TokenTree::Punct(mark), TokenTree::Group(attribute), after @ ..] if mark.as_char() == '#' => {
                let name = attribute.stream().to_string().replace(' ', "");
                if name.starts_with("error(") {
                    collect(attribute.stream(), texts);
                }
                if name == "cfg(test)" { after_item(after) } else { after }
            }
            [TokenTree::Punct(mark), TokenTree::Punct(_), TokenTree::Group(_), after @ ..] if mark.as_char() == '#' => {
                after
            }
            [TokenTree::Ident(name), TokenTree::Punct(mark), TokenTree::Group(_), after @ ..]
                if mark.as_char() == '!' && LOG.iter().any(|log| name == log) =>
            {
                after
            }
            [TokenTree::Ident(name), TokenTree::Group(_), after @ ..] if name == "expect" => after,
            [TokenTree::Group(inner), after @ ..] => {
                collect(inner.stream(), texts);
                after
            }
            [TokenTree::Literal(literal), after @ ..] => {
                if let syn::Lit::Str(text) = syn::Lit::new(literal.clone()) {
                    texts.push(text.value());
                }
                after
            }
            [_, after @ ..] => after,
        };
    }
}

/// What follows an item: it ends with its braces or with a semicolon.
fn after_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Punct(mark) => mark.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    };
    let end = tokens.iter().position(is_end).expect("an item ends");
    &tokens[end + 1..]
}

/// The forms of the texts in the PHP; what it puts into them is a place.
fn php() -> Vec<String> {
    let text = Regex::new(r#"'([^'\n]*)'|"([^"\n]*)""#).expect("a pattern");
    let value = Regex::new(r"\{\$[^}]*\}|\$\w+").expect("a pattern");
    let code = read(PHP);
    let texts = text.captures_iter(&code).filter_map(|found| found.get(1).or(found.get(2)));
    texts.map(|text| value.replace_all(text.as_str(), "§").into_owned()).collect()
}
