//! The page as MikoPBX embeds it and the marks on MikoPBX's own pages, from the package, in a real browser.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::browser::Browser;
use crate::support::directory::Kind;
use crate::support::people::{Someone, ldif};
use crate::support::servers::slapd::{self, Slapd};
use crate::support::site::{Site, check};
use crate::support::world::{World, sync};
use crate::support::{have, package, root, run};

/// A PBX with Anna, who is kept in step, and its admin cabinet with the package's assets.
struct Cabinet {
    world: World,
    site: Site,
    server: Slapd,
}

impl Cabinet {
    fn make() -> Option<Cabinet> {
        if !have("Chromium", &["chromium", "python3"], false) {
            return None;
        }
        let server = slapd::start(&[Someone::new("anna", "Anna Berg").mail("anna@example.test")])?;
        let world = World::new();
        let (mut plugin, id) = world.install(&server.settings("none"));
        sync(&mut plugin, &id);
        assert!(plugin.stop().success());
        let (module, public) = (world.path().join("unpacked"), world.path().join("cabinet"));
        package::unpack(package::made(), &module);
        write_pages(&module, &public, world.pbx().last_user_id());
        let site = Site::start_with(&world, &public);
        Some(Cabinet { world, site, server })
    }
}

/// The pages of the admin cabinet that matter here, with the module's views and its linked assets in them.
fn write_pages(module: &Path, public: &Path, anna: i64) {
    for kind in ["js", "css"] {
        let cache = public.join(format!("admin-cabinet/assets/{kind}/cache/ModuleLdapSync"));
        fs::create_dir_all(cache.parent().expect("it has a parent")).expect("a directory");
        run(Command::new("cp").arg("-r").arg(module.join("public/assets").join(kind)).arg(&cache));
    }
    fs::copy(root().join("tests/data/pbx-page.js"), public.join("pbx-page.js")).expect("the page's globals");
    let view = |name: &str| fs::read_to_string(module.join("App/Views").join(name)).expect("a view");
    let assets = "/admin-cabinet/assets/js/cache/ModuleLdapSync";
    let script = format!("{assets}/{}/mikopbx.js", env!("CARGO_PKG_VERSION"));
    let values = |language: &str, start: &str| {
        view("ModuleLdapSync/index.volt")
            .replace("{{ WebAdminLanguage|e }}", language)
            .replace("{{ startView|e }}", start)
            .replace("{{ pageScript|e }}", &script)
    };
    let frame = r#"<div class="ui loading segment" id="content-frame">"#;
    write_page(public, "module", &format!("{frame}{}</div>", values("en", "")));
    write_page(public, "modify", &format!("{frame}{}</div>", values("ru", "#/servers/1/settings")));
    let marks = format!(r#"<script src="{assets}/employees.js"></script>"#);
    let row = |id: i64, name: &str| format!(r#"<tr data-extension-id="{id}"><td></td><td>{name}</td></tr>"#);
    let rows = [row(110, "Smith James"), row(anna, "Anna Berg")].concat();
    write_page(public, "list", &format!(r#"<table id="extensions-table">{rows}</table>{marks}"#));
    for id in [110, anna] {
        let line = view("Extensions/kept-in-step.volt");
        write_page(public, &format!("extensions/modify/{id}"), &format!("{line}{marks}"));
    }
}

fn write_page(public: &Path, name: &str, content: &str) {
    let directory = public.join(name);
    fs::create_dir_all(&directory).expect("a directory");
    let page = format!("<!doctype html><meta charset=\"utf-8\"><script src=\"/pbx-page.js\"></script>{content}");
    fs::write(directory.join("index.html"), page).expect("a page");
}

#[test]
fn the_page_works_inside_mikopbx_in_the_cabinets_language() {
    let Some(cabinet) = Cabinet::make() else { return };
    let page = cabinet.site.show("/module/");
    check(&page, &["Directory servers", "Anna Berg", r#"class="ui segment" id="content-frame""#]);
    let form = cabinet.site.show("/modify/");
    check(&form, &["Адрес сервера", "<form"]);
    assert!(cabinet.world.module_database().is_file());
}

#[test]
fn a_synchronisation_started_inside_mikopbx_is_made_by_the_worker() {
    let Some(cabinet) = Cabinet::make() else { return };
    let bea = [Someone::new("bea", "Bea Lund").mail("bea@example.test")];
    cabinet.server.add(&ldif(&bea, Kind::OpenLdap, &cabinet.server.people));
    let mut browser = Browser::start();
    browser.open(&format!("{}/module/", cabinet.site.address), "Sync now");
    browser.press("Sync now");
    browser.wait_for("it begins as soon as the module's service comes to it");
    assert!(
        cabinet.world.pbx().employees().iter().all(|employee| employee.name != "Bea Lund"),
        "no request makes a run"
    );
    cabinet.world.installation.start().tick().data();
    browser.wait_for("Synchronisation finished.");
    browser.wait_for("1 new, 0 updated");
    assert_eq!(cabinet.world.pbx().employee_named("Bea Lund").email, "bea@example.test");
}

#[test]
fn employees_kept_in_step_are_marked_on_the_list_and_in_their_form_and_nobody_else() {
    let Some(cabinet) = Cabinet::make() else { return };
    let list = cabinet.site.show("/list/");
    check(&list, &["Anna Berg <i class=\"address book outline grey icon", "title=\"Kept in step with the directory\""]);
    assert_eq!(list.matches("<i class=").count(), 1, "only Anna is kept in step:\n{list}");
    let hidden = r#"id="module-ldap-sync-kept" hidden"#;
    let own = cabinet.site.show(&format!("/extensions/modify/{}/", cabinet.world.pbx().last_user_id()));
    assert!(own.contains("module-ldap-sync-kept") && !own.contains(hidden), "{own}");
    assert!(cabinet.site.show("/extensions/modify/110/").contains(hidden));
}
