//! Makes the demo's people: `assets/demo/people.ldif` and the photos of the demo PBX's employees.
//!
//! ```text
//! cargo run -p pbx-host --example make_demo_people
//! ```
//!
//! The same source always gives the same files; a test compares them. Everybody is invented. Telephone numbers are those
//! kept for fiction (Ofcom's 07700 900xxx, ARCEP's 06 39 98 xx xx, 555-01xx, Bundesnetzagentur's 0171 39200xx) or plainly
//! made up of zeros.

use std::fs;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use pbx_host::demo::ldif::{Attribute, Entry, write_ldif};
use pbx_host::demo::{BASE_DN, PEOPLE_DN, SERVICE_DN, SERVICE_PASSWORD};

/// A person as this file writes it; an empty text is no value, several values are separated by `|`.
struct Person {
    uid: &'static str,
    given: &'static str,
    family: &'static str,
    /// What the PBX shows: given name first, or family name first as many countries and MikoPBX's own demo do.
    family_first: bool,
    unit: &'static str,
    title: &'static str,
    mail: &'static str,
    mobile: &'static str,
    telephone: &'static str,
    photo: bool,
    status: &'static str,
}

/// The departments, each an organizational unit.
const UNITS: [&str; 7] = ["Management", "Sales", "Support", "Engineering", "Logistik", "Бухгалтерия", "Отдел кадров"];

/// A person whose data is in order: e-mail made of the uid, active.
const fn clean(
    uid: &'static str,
    given: &'static str,
    family: &'static str,
    unit: &'static str,
    title: &'static str,
    mobile: &'static str,
    photo: bool,
) -> Person {
    Person {
        uid,
        given,
        family,
        family_first: false,
        unit,
        title,
        mail: "@",
        mobile,
        telephone: "",
        photo,
        status: "active",
    }
}

/// The same with the family name first.
const fn family_first(person: Person) -> Person {
    Person { family_first: true, ..person }
}

/// The same without an e-mail address.
const fn no_mail(person: Person) -> Person {
    Person { mail: "", ..person }
}

/// The same with a value in telephoneNumber.
const fn telephone(telephone: &'static str, person: Person) -> Person {
    Person { telephone, ..person }
}

const PEOPLE: &[Person] = &[
    // Awkward people first: each shows one rule of the synchronisation.
    //
    // Employee 110 of the demo PBX, by mobile (there 89261111111) and name.
    family_first(clean("j.smith", "James", "Smith", "Sales", "Head of Sales", "+7 926 111-11-11", true)),
    // Two namesakes with nothing else in common with each other, nor with employee 112 of that name.
    no_mobile_namesake("m.collins", "melanie.collins@example.test", "Support"),
    no_mobile_namesake("m.collins2", "m.collins.accounts@example.test", "Sales"),
    // Wants a parking slot's number.
    telephone("801", clean("o.walker", "Olivia", "Walker", "Support", "Support Engineer", "+44 7700 900101", true)),
    // Wants a queue's number.
    telephone("2001", clean("w.taylor", "William", "Taylor", "Sales", "Account Manager", "+44 7700 900102", false)),
    // Keeps an outside line where others keep the internal number.
    telephone(
        "+7 495 000-00-17",
        family_first(clean(
            "n.smirnova",
            "Наталья",
            "Смирнова",
            "Отдел кадров",
            "Директор по персоналу",
            "+7 900 000-00-01",
            true,
        )),
    ),
    // Wants a number that is free.
    telephone(
        "245",
        clean("e.fitzgerald", "Emma", "Fitzgerald-Jones", "Engineering", "Engineer", "+44 (0)7700 900103", true),
    ),
    // Number and extension in one value.
    telephone(
        "+7 495 000-00-18 ext. 246",
        family_first(clean("s.kuznetsov", "Сергей", "Кузнецов", "Engineering", "Инженер", "8 (900) 000-00-02", false)),
    ),
    // Left: the account is not active.
    Person {
        status: "inactive",
        ..clean("g.mcdonald", "Grace", "McDonald", "Support", "Support Engineer", "+44 7700 900104", false)
    },
    // An e-mail address that is none.
    Person {
        mail: "sean.obrien-at-example.test",
        ..clean("s.obrien", "Sean", "O'Brien", "Sales", "Sales Representative", "+44-7700-900105", false)
    },
    // A mobile number that is none.
    clean("k.weiss", "Käthe", "Weiß", "Logistik", "Disponentin", "ask reception", false),
    // Two mobiles.
    clean("b.groessmann", "Björn", "Größmann", "Logistik", "Lagerleiter", "+49 171 3920001|+49 171 3920002", true),
    // A name longer than a PBX keeps.
    clean(
        "m.delacruz",
        "María de los Ángeles Guadalupe Esperanza Inmaculada",
        "Fernández de Córdoba y Álvarez de las Asturias-Bohórquez y Goyeneche",
        "Management",
        "Board Member",
        "+1 202-555-0101",
        false,
    ),
    // People whose data is in order.
    clean("j.mueller", "Jürgen", "Müller", "Logistik", "Fahrer", "+49 (171) 39 200 03", true),
    clean("a.vonderheide", "Anneliese", "von der Heide", "Management", "Geschäftsführerin", "0049 171 3920004", true),
    no_mail(clean("s.koehler", "Sören", "Köhler", "Engineering", "Techniker", "+491713920005", false)),
    clean("f.lefevre", "François", "Lefèvre", "Sales", "Responsable commercial", "+33 6 39 98 00 01", true),
    clean("e.dartagnan", "Éloïse", "D'Artagnan", "Support", "Technicienne", "+33 (0)6 39 98 00 02", false),
    clean("j.noel", "Jean-Luc", "Noël", "Engineering", "Ingénieur", "+33.6.39.98.00.03", false),
    no_mail(clean("z.helene", "Zoé", "de La Tour d'Auvergne", "Sales", "Assistante", "", false)),
    clean("l.wisniewski", "Łukasz", "Wiśniewski", "Engineering", "Programista", "+48 500 000 001", true),
    clean("m.dabrowska", "Małgorzata", "Dąbrowska", "Support", "Specjalistka", "+48 500-000-002", false),
    clean("w.zolc", "Wojciech", "Żółć-Szczęsny", "Logistik", "Magazynier", "", false),
    clean("i.yilmaz", "İbrahim", "Yılmaz", "Sales", "Satış Müdürü", "+90 500 000 00 01", true),
    clean("s.ozturk", "Şule", "Öztürk", "Support", "Uzman", "+90 (500) 000 00 02", false),
    clean("i.kilic", "Işıl", "Kılıç", "Engineering", "Mühendis", "+905000000003", false),
    family_first(clean("v.nguyen", "Văn Anh", "Nguyễn", "Engineering", "Kỹ sư", "+84 90 000 00 01", true)),
    family_first(clean("b.tran", "Thị Bích", "Trần", "Sales", "Nhân viên", "+84 900 000 002", false)),
    no_mail(family_first(clean("d.dang", "Quốc Đạt", "Đặng", "Logistik", "Tài xế", "", false))),
    family_first(clean("p.elkin", "Пётр", "Ёлкин", "Бухгалтерия", "Главный бухгалтер", "+7 (900) 000-00-03", true)),
    family_first(clean("s.vorobyov", "Семён", "Воробьёв", "Logistik", "Водитель", "8-900-000-00-04", false)),
    family_first(clean("o.shcherbakova", "Ольга", "Щербакова", "Бухгалтерия", "Бухгалтер", "8(900)0000005", true)),
    family_first(clean(
        "y.solovyova",
        "Юлия",
        "Соловьёва-Римская",
        "Отдел кадров",
        "Специалист",
        "tel:+79000000006",
        false,
    )),
    no_mail(family_first(clean("d.lebedev", "Дмитрий", "Лебедев", "Support", "Инженер", "79000000007", false))),
    family_first(clean("a.ivanov", "Александр", "Иванов", "Sales", "Менеджер", "+7 900 000 00 08", false)),
    family_first(clean("e.ivanova", "Елена", "Иванова", "Бухгалтерия", "Бухгалтер", "", true)),
    family_first(clean("h.shevchenko", "Ганна", "Шевченко", "Support", "Інженер", "+380 50 000 00 01", true)),
    family_first(clean("y.yizhakevych", "Євген", "Їжакевич", "Engineering", "Розробник", "+380 (50) 000-00-02", false)),
    family_first(clean("g.hnatiuk", "Ґалина", "Гнатюк", "Sales", "Менеджерка", "", false)),
    family_first(clean("a.nursultanov", "Нұрлан", "Нұрсұлтанов", "Management", "Директор", "+7 700 000 00 01", true)),
    family_first(clean("a.abdirova", "Әлия", "Әбдірова", "Sales", "Менеджер", "8 700 000-00-02", false)),
    no_mail(family_first(clean("k.otegenov", "Қайрат", "Өтегенов", "Logistik", "Жүргізуші", "", false))),
    clean("n.papadopoulos", "Νίκος", "Παπαδόπουλος", "Engineering", "Μηχανικός", "+30 690 000 0001", true),
    clean("e.georgiou", "Ελένη", "Γεωργίου", "Support", "Τεχνικός", "", false),
    clean("a.petrosyan", "Արմեն", "Պետրոսյան", "Engineering", "Ծրագրավորող", "+374 77 000001", false),
    clean("a.hakobyan", "Անի", "Հակոբյան", "Sales", "Մենեջեր", "", false),
    clean("g.beridze", "გიორგი", "ბერიძე", "Support", "ინჟინერი", "+995 555 00 00 01", false),
    clean("m.alfarsi", "محمد", "الفارسي", "Sales", "مدير المبيعات", "+971 50 000 0001", true),
    clean("l.haddad", "ليلى", "حداد", "Support", "مهندسة", "", false),
    clean("y.cohen", "יוסי", "כהן", "Engineering", "מהנדס", "+972 50-000-0001", false),
    no_mail(clean("r.levi", "רחל", "לוי־ברק", "Sales", "מנהלת", "", false)),
    family_first(clean("x.wang", "小明", "王", "Engineering", "工程师", "+86 138 0000 0001", true)),
    family_first(clean("m.ouyang", "美丽", "欧阳", "Sales", "经理", "+8613800000002", false)),
    family_first(clean("t.yamada", "太郎", "山田", "Engineering", "エンジニア", "+81 90-0000-0001", true)),
    family_first(clean("h.sato", "はなこ", "佐藤", "Support", "サポート", "", false)),
    family_first(clean("m.kim", "민준", "김", "Engineering", "엔지니어", "+82 10-0000-0001", true)),
    family_first(clean("s.namgung", "서연", "남궁", "Sales", "매니저", "", false)),
    clean("a.anderson", "Anne-Marie", "Anderson", "Sales", "Sales Representative", "+1 (202) 555-0102", true),
    clean("p.oconnor", "Pádraig", "Ó Conchúir", "Engineering", "Engineer", "+44 7700 900 106", false),
    no_mail(clean("t.x", "T.", "X", "Support", "Trainee", "", false)),
];

const fn no_mobile_namesake(uid: &'static str, mail: &'static str, unit: &'static str) -> Person {
    Person { mail, ..family_first(clean(uid, "Melanie", "Collins", unit, "Assistant", "", false)) }
}

fn main() -> std::io::Result<()> {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
    fs::write(assets.join("people.ldif"), people_ldif())?;
    for (index, id) in (110..113).enumerate() {
        fs::write(assets.join(format!("user_{id}.jpg")), portrait(100 + index))?;
    }
    Ok(())
}

/// The tree, the service account and the people.
fn people_ldif() -> String {
    let mut entries = vec![
        entry(BASE_DN, &["dcObject", "organization"], &[("dc", "example"), ("o", "Example Telephony")]),
        entry(PEOPLE_DN, &["organizationalUnit"], &[("ou", "people")]),
        entry(&format!("ou=service,{BASE_DN}"), &["organizationalUnit"], &[("ou", "service")]),
        entry(
            SERVICE_DN,
            &["applicationProcess", "simpleSecurityObject"],
            &[("cn", "pbx"), ("description", "The telephone system"), ("userPassword", SERVICE_PASSWORD)],
        ),
    ];
    entries.extend(UNITS.iter().map(|unit| entry(&unit_dn(unit), &["organizationalUnit"], &[("ou", unit)])));
    entries.extend(PEOPLE.iter().enumerate().map(|(index, person)| person_entry(index, person)));
    write_ldif(&entries)
}

fn unit_dn(unit: &str) -> String {
    format!("ou={unit},{PEOPLE_DN}")
}

fn person_entry(index: usize, person: &Person) -> Entry {
    let (given, family) = (person.given, person.family);
    let name = if person.family_first { format!("{family} {given}") } else { format!("{given} {family}") };
    let mail = if person.mail == "@" { format!("{}@example.test", person.uid) } else { person.mail.to_owned() };
    let number = format!("E{:04}", index + 1);
    let mut entry = entry(
        &format!("uid={},{}", person.uid, unit_dn(person.unit)),
        &["inetOrgPerson"],
        &[
            ("uid", person.uid),
            ("cn", &name),
            ("displayName", &name),
            ("givenName", given),
            ("sn", family),
            ("title", person.title),
            ("ou", person.unit),
            ("employeeNumber", &number),
            ("employeeType", person.status),
            ("mail", &mail),
            ("mobile", person.mobile),
            ("telephoneNumber", person.telephone),
        ],
    );
    if person.photo {
        entry.attributes.push(Attribute { name: "jpegPhoto".to_owned(), values: vec![portrait(index)] });
    }
    entry
}

fn entry(dn: &str, classes: &[&str], attributes: &[(&str, &str)]) -> Entry {
    let values = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let mut entry = Entry { dn: dn.to_owned(), attributes: Vec::new() };
    entry.attributes.push(Attribute { name: "objectClass".to_owned(), values: values(classes) });
    for (name, text) in attributes.iter().filter(|(_, text)| !text.is_empty()) {
        let texts: Vec<&str> = text.split('|').collect();
        entry.attributes.push(Attribute { name: (*name).to_owned(), values: values(&texts) });
    }
    entry
}

/// A drawn portrait as JPEG: a face over shoulders before a shaded wall, coloured by `seed`.
fn portrait(seed: usize) -> Vec<u8> {
    let size = [160, 192, 240][seed % 3];
    let image = RgbImage::from_fn(size, size, |x, y| pixel(seed, x as f32 / size as f32, y as f32 / size as f32));
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 72).encode_image(&image).expect("a small image can be encoded");
    bytes
}

/// The colour at a place of the portrait; both coordinates run from 0 to 1.
fn pixel(seed: usize, x: f32, y: f32) -> Rgb<u8> {
    const SKIN: [[f32; 3]; 5] = [
        [244.0, 208.0, 177.0],
        [224.0, 172.0, 136.0],
        [198.0, 134.0, 92.0],
        [141.0, 85.0, 54.0],
        [255.0, 224.0, 196.0],
    ];
    const HAIR: [[f32; 3]; 4] = [[40.0, 30.0, 28.0], [112.0, 72.0, 40.0], [214.0, 178.0, 104.0], [150.0, 150.0, 154.0]];
    let within = |cx: f32, cy: f32, rx: f32, ry: f32| square((x - cx) / rx) + square((y - cy) / ry) <= 1.0;
    let (skin, hair) = (SKIN[seed * 3 % SKIN.len()], HAIR[(seed * 5 + seed / 7) % HAIR.len()]);
    let long_hair = seed % 2 == 1;
    let glasses = seed % 5 == 2;
    let eyes = within(0.42, 0.42, 0.022, 0.022) || within(0.58, 0.42, 0.022, 0.022);
    let frames = (within(0.42, 0.42, 0.065, 0.055) && !within(0.42, 0.42, 0.052, 0.042))
        || (within(0.58, 0.42, 0.065, 0.055) && !within(0.58, 0.42, 0.052, 0.042));
    let mouth = within(0.5, 0.555, 0.075, 0.03) && y > 0.555;
    let face = within(0.5, 0.44, 0.17, 0.21);
    let fringe = within(0.5, 0.33, 0.19, 0.14) && y < 0.335 - 0.06 * (x - 0.5).abs();
    let mane = long_hair && within(0.5, 0.46, 0.235, 0.31);
    let colour = if eyes || (glasses && frames) {
        [32.0, 32.0, 40.0]
    } else if mouth && face {
        [176.0, 72.0, 76.0]
    } else if fringe {
        hair
    } else if face || within(0.5, 0.66, 0.065, 0.1) {
        skin
    } else if mane {
        hair
    } else if within(0.5, 1.02, 0.36, 0.31) {
        clothes(seed)
    } else {
        wall(seed, x, y)
    };
    Rgb(colour.map(|channel| channel.clamp(0.0, 255.0) as u8))
}

fn square(value: f32) -> f32 {
    value * value
}

fn clothes(seed: usize) -> [f32; 3] {
    let turn = |step: usize| 40.0 + ((seed * step) % 9) as f32 * 18.0;
    [turn(4), turn(7), turn(5)]
}

fn wall(seed: usize, x: f32, y: f32) -> [f32; 3] {
    let base = |step: usize| 120.0 + ((seed * step) % 7) as f32 * 14.0;
    let shade = 40.0 * (x - y) + 14.0 * (1.0 - y);
    [base(3) + shade, base(5) + shade, base(2) + shade]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_people_are_those_of_this_program() {
        // Not assert_eq: the two texts are too long to print.
        assert!(people_ldif() == pbx_host::demo::PEOPLE_LDIF, "run `cargo run -p pbx-host --example make_demo_people`");
    }

    #[test]
    fn portraits_are_photos_a_pbx_takes() {
        for seed in 0..PEOPLE.len() {
            let photo = portrait(seed);
            assert!((1024..8 * 1024).contains(&photo.len()), "portrait {seed} has {} bytes", photo.len());
        }
    }
}
