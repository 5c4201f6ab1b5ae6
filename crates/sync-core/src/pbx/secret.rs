//! SIP secrets: made and judged as MikoPBX's password service does (docs/MIKOPBX.md, Secrets).

use std::collections::BTreeSet;

use secrecy::SecretString;

/// Base58: digits and letters without `0`, `O`, `I` and `l`.
const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const LENGTH: usize = 20;
const MINIMUM_SCORE: i32 = 60;
const DEFAULTS: [&str; 5] = ["admin", "password", "1234", "12345", "secret"];
const RUNS: [&str; 12] =
    ["qwerty", "asdfgh", "zxcvbn", "12345", "23456", "34567", "45678", "56789", "abcde", "bcdef", "cdefg", "defgh"];
/// Far more draws than a working source of randomness ever needs.
const DRAWS: usize = 1000;

/// A new secret of 20 base58 characters that MikoPBX accepts. `random` fills the bytes it is given; should it be so broken
/// that 1000 draws bring nothing acceptable, the last draw is answered and [`super::Pbx::apply`] refuses it.
pub fn generate(random: &mut dyn FnMut(&mut [u8])) -> SecretString {
    let mut secret = String::new();
    for _ in 0..DRAWS {
        secret = draw(random);
        if check(&secret).is_ok() {
            break;
        }
    }
    SecretString::from(secret)
}

/// Each byte below the largest multiple of 58 gives one character, so that all are equally likely.
fn draw(random: &mut dyn FnMut(&mut [u8])) -> String {
    let mut bytes = [0; 4 * LENGTH];
    random(&mut bytes);
    let fair = bytes.iter().map(|&byte| usize::from(byte)).filter(|&byte| byte < 256 / ALPHABET.len() * ALPHABET.len());
    fair.take(LENGTH).map(|byte| char::from(ALPHABET[byte % ALPHABET.len()])).collect()
}

/// Whether MikoPBX accepts the secret: 5 to 64 bytes, not one of its default passwords, a score of at least 60. The
/// sentence says what is wrong and never contains the secret. MikoPBX also looks it up in a list of leaked passwords,
/// which only the PBX has.
pub fn check(secret: &str) -> Result<(), String> {
    if !(5..=64).contains(&secret.len()) {
        return Err(format!("the SIP secret has {} bytes, MikoPBX wants 5 to 64", secret.len()));
    }
    if DEFAULTS.contains(&secret.to_ascii_lowercase().as_str()) {
        return Err("the SIP secret is a well-known default password".to_owned());
    }
    let score = score(secret);
    if score < MINIMUM_SCORE {
        return Err(format!(
            "the SIP secret is too weak: MikoPBX scores it {score}, and wants at least {MINIMUM_SCORE}"
        ));
    }
    Ok(())
}

fn score(secret: &str) -> i32 {
    let bytes = secret.as_bytes();
    let length = bytes.len();
    let classes = [
        bytes.iter().any(u8::is_ascii_lowercase),
        bytes.iter().any(u8::is_ascii_uppercase),
        bytes.iter().any(u8::is_ascii_digit),
        bytes.iter().any(|byte| !byte.is_ascii_alphanumeric()),
    ];
    let classes = classes.into_iter().filter(|&present| present).count();
    let mut score = length_points(length) + variety_points(bytes);
    score += 10 * i32::try_from(classes).unwrap_or(4);
    if classes >= 3 && length >= 12 {
        score += 10;
    }
    if bytes.windows(3).any(|three| three[0] == three[1] && three[1] == three[2]) {
        score -= 10;
    }
    if has_run(&secret.to_ascii_lowercase()) {
        score -= 10;
    }
    if length < 10 && bytes.iter().all(u8::is_ascii_alphabetic) {
        score -= 15;
    }
    score.clamp(0, 100)
}

fn length_points(length: usize) -> i32 {
    match length {
        16.. => 30,
        12..16 => 20,
        8..12 => 10,
        _ => i32::try_from(length).unwrap_or(0),
    }
}

fn variety_points(bytes: &[u8]) -> i32 {
    let unique = bytes.iter().collect::<BTreeSet<_>>().len();
    let above = |tenths: usize| unique * 10 > bytes.len() * tenths;
    if above(7) {
        20
    } else if above(5) {
        15
    } else if above(3) {
        10
    } else {
        5
    }
}

fn has_run(lower: &str) -> bool {
    RUNS.iter().any(|run| lower.contains(run) || lower.contains(&run.chars().rev().collect::<String>()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    /// A small generator with a fixed start, so that the test is the same every time.
    fn pseudo_random(mut state: u64) -> impl FnMut(&mut [u8]) {
        move |bytes| {
            for byte in bytes {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = (state >> 56) as u8;
            }
        }
    }

    #[test]
    fn generated_secrets_pass_the_check_and_differ() {
        let mut random = pseudo_random(1);
        let secrets: Vec<_> = (0..500).map(|_| generate(&mut random)).collect();
        for secret in &secrets {
            let secret = secret.expose_secret();
            assert_eq!(secret.len(), 20);
            assert!(secret.bytes().all(|byte| ALPHABET.contains(&byte)), "{secret}");
            assert_eq!(check(secret), Ok(()));
        }
        let distinct: BTreeSet<_> = secrets.iter().map(ExposeSecret::expose_secret).collect();
        assert_eq!(distinct.len(), secrets.len());
    }

    #[test]
    fn a_weak_draw_is_drawn_again() {
        let mut good = pseudo_random(7);
        let mut calls = 0;
        let secret = generate(&mut |bytes| {
            calls += 1;
            if calls == 1 { bytes.fill(0) } else { good(bytes) }
        });
        assert_eq!(calls, 2);
        assert_eq!(check(secret.expose_secret()), Ok(()));
    }

    #[test]
    fn a_broken_source_ends_with_a_secret_that_is_refused() {
        for constant in [0, 255] {
            let secret = generate(&mut |bytes| bytes.fill(constant));
            assert!(check(secret.expose_secret()).is_err());
        }
    }

    #[test]
    fn the_score_follows_mikopbx() {
        for (secret, expected) in [
            ("12345", 25),                // 5 + 20 - 10 (a run) + 10 (digits)
            ("Kj8sHd72LmQp4Xz9Vb3T", 90), // 30 + 20 + 30 + 10
            ("aaaaaaaaaaaaaaaa", 35),     // 30 + 5 + 10 - 10 (tripled)
            ("Qwerty12", 50),             // 10 + 20 + 30 - 10
            ("abcxyzkw", 25),             // 10 + 20 + 10 - 15
        ] {
            assert_eq!(score(secret), expected, "{secret}");
        }
    }

    #[test]
    fn reasons_never_contain_the_secret() {
        for secret in ["abc", "12345", "PASSWORD", "aaaaaaaaaaaaaaaa", &"x".repeat(65)] {
            let reason = check(secret).expect_err("refused");
            assert!(!reason.contains(secret), "{reason}");
        }
    }
}
