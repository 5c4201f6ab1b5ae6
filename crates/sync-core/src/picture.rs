//! Photos as images: which ones MikoPBX can use, and the form in which they go to a directory.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use md5::{Digest, Md5};

/// MikoPBX takes no smaller file as a photo (docs/MIKOPBX.md, Photos), in bytes.
pub const SMALLEST: usize = 1024;
/// Larger files are refused, in bytes.
pub const LARGEST: usize = 5 << 20;
/// Most bytes of Active Directory's `thumbnailPhoto` (its attribute schema, rangeUpper 102400).
pub const LARGEST_THUMBNAIL: usize = 100 << 10;

/// First bytes of the formats MikoPBX takes: JPEG, PNG, GIF, RIFF (WebP).
const MAGIC: [&[u8]; 5] = [JPEG, b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"RIFF"];
const JPEG: &[u8] = b"\xff\xd8\xff";
/// Widest and highest image that is taken, in pixels.
const LONGEST_SIDE: u32 = 16_384;
/// Most pixels of an image that is taken; larger ones would need hundreds of megabytes to be shown.
const MOST_PIXELS: u64 = 50_000_000;
/// Memory for decoding one image, in bytes: four for each pixel.
const MOST_MEMORY: u64 = 4 * MOST_PIXELS;
/// Qualities tried before an image is made smaller.
const QUALITIES: [u8; 3] = [85, 70, 55];
/// No image is made smaller than this on its shorter side, in pixels.
const SMALLEST_SIDE: u32 = 48;

/// MD5 of an image, 32 hexadecimal digits: what photos are known and compared by.
pub fn md5(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether MikoPBX can use an image; a sentence says why not. Only the header is decoded, so that a small file that
/// unfolds to a huge image costs nothing.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    if bytes.len() > LARGEST {
        return Err(format!("the photo has {} bytes; at most {LARGEST} are taken", bytes.len()));
    }
    if !MAGIC.iter().any(|magic| bytes.starts_with(magic)) {
        return Err("the photo is neither JPEG, PNG, GIF nor WebP".to_owned());
    }
    if bytes.len() < SMALLEST {
        return Err(format!("the photo has {} bytes; MikoPBX takes none below {SMALLEST}", bytes.len()));
    }
    let (width, height) = dimensions(bytes)?;
    if width > LONGEST_SIDE || height > LONGEST_SIDE || u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!(
            "the photo unfolds to {width} by {height} pixels; at most {LONGEST_SIDE} on a side and {MOST_PIXELS} in all \
             are taken"
        ));
    }
    Ok(())
}

fn dimensions(bytes: &[u8]) -> Result<(u32, u32), String> {
    reader(bytes)?.into_dimensions().map_err(|error| broken(&error))
}

fn reader(bytes: &[u8]) -> Result<ImageReader<Cursor<&[u8]>>, String> {
    ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| broken(&error))
}

fn broken(error: &dyn std::fmt::Display) -> String {
    format!("the photo is no image that can be read: {}", error.to_string().trim_end())
}

/// The most bytes a photo may have in `attribute`.
pub fn most_bytes(attribute: &str) -> usize {
    if attribute.eq_ignore_ascii_case("thumbnailPhoto") { LARGEST_THUMBNAIL } else { LARGEST }
}

/// The image as it goes to a directory: a JPEG of at most `most` bytes. One that is that already stays byte for byte;
/// anything else is encoded again, turned the way its camera said, and made smaller where it has to be.
pub fn for_directory(bytes: &[u8], most: usize) -> Result<Vec<u8>, String> {
    check(bytes)?;
    if bytes.starts_with(JPEG) && bytes.len() <= most {
        return Ok(bytes.to_vec());
    }
    let mut image = decode(bytes)?;
    loop {
        for quality in QUALITIES {
            let encoded = encode(&image, quality)?;
            if encoded.len() <= most {
                return Ok(encoded);
            }
        }
        let (width, height) = (image.width() * 3 / 4, image.height() * 3 / 4);
        if width.min(height) < SMALLEST_SIDE {
            return Err(format!("the photo cannot be made as small as the {most} bytes the directory takes"));
        }
        image = image.resize_exact(width, height, FilterType::Triangle);
    }
}

/// A small JPEG of an image, at most `side` pixels wide and high, turned the way its camera said.
pub fn thumbnail(bytes: &[u8], side: u32) -> Result<Vec<u8>, String> {
    check(bytes)?;
    encode(&decode(bytes)?.thumbnail(side, side), QUALITIES[0])
}

fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    let mut reader = reader(bytes)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| broken(&error))?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| broken(&error))?;
    image.apply_orientation(orientation);
    Ok(DynamicImage::ImageRgb8(image.into_rgb8()))
}

fn encode(image: &DynamicImage, quality: u8) -> Result<Vec<u8>, String> {
    let mut encoded = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut encoded, quality);
    image.write_with_encoder(encoder).map_err(|error| format!("the photo cannot be encoded as JPEG: {error}"))?;
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, Rgb, RgbImage};

    /// An image that does not compress well: the left half is red, the right half noise.
    fn image(width: u32, height: u32) -> DynamicImage {
        let mut state = 7_u32;
        DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, _| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if x < width / 2 { Rgb([250, 0, 0]) } else { Rgb([0, (state >> 24) as u8, (state >> 16) as u8]) }
        }))
    }

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[track_caller]
    fn check_refused(bytes: &[u8], expected: &str) {
        let reason = check(bytes).expect_err("refused");
        assert!(reason.contains(expected), "{reason}");
    }

    #[test]
    fn images_of_every_format_are_taken() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP] {
            assert_eq!(check(&encoded(&image(64, 64), format)), Ok(()), "{format:?}");
        }
    }

    #[test]
    fn what_is_no_usable_image_is_refused() {
        let good = encoded(&image(64, 64), ImageFormat::Png);
        check_refused(&[JPEG, &[7; 2000]].concat(), "no image that can be read");
        check_refused(&[b"<svg".as_slice(), &[b' '; 2000]].concat(), "neither");
        check_refused(&good[..1000], "1000 bytes");
        check_refused(&vec![0; LARGEST + 1], "at most");
        // A PNG of a few bytes whose header promises 60,000 by 60,000 pixels.
        let mut bomb = good;
        bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        let sum = crc(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&sum.to_be_bytes());
        check_refused(&bomb, "60000 by 60000 pixels");
        assert!(for_directory(&bomb, LARGEST).is_err());
    }

    /// CRC-32 of PNG chunks (PNG specification, annex D).
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
        })
    }

    #[test]
    fn a_jpeg_that_fits_is_not_touched() {
        let jpeg = encoded(&image(64, 64), ImageFormat::Jpeg);
        assert_eq!(for_directory(&jpeg, LARGEST_THUMBNAIL), Ok(jpeg));
    }

    #[test]
    fn anything_else_becomes_a_jpeg_that_fits() {
        let png = encoded(&image(700, 600), ImageFormat::Png);
        let made = for_directory(&png, 20_000).unwrap();
        assert!(made.starts_with(JPEG) && made.len() <= 20_000, "{}", made.len());
        assert!(for_directory(&png, 100).is_err());
        assert_eq!(most_bytes("ThumbnailPhoto"), LARGEST_THUMBNAIL);
        assert_eq!(most_bytes("jpegPhoto"), LARGEST);
    }

    #[test]
    fn an_image_encoded_again_keeps_the_way_up() {
        let upright = encoded(&image(400, 300), ImageFormat::Jpeg);
        // EXIF in big-endian order with one entry: orientation (0x0112) 6, a quarter turn to the right.
        let tiff = [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".as_slice()].concat();
        let length = u16::try_from(tiff.len() + 8).unwrap().to_be_bytes();
        let turned = [&upright[..2], b"\xff\xe1", &length, b"Exif\0\0", &tiff, &upright[2..]].concat();
        let made = for_directory(&turned, 8_000).unwrap();
        let shown = decode(&made).unwrap();
        assert!(shown.height() > shown.width(), "{} by {}", shown.width(), shown.height());
        // What was left is on top now.
        let top = shown.to_rgb8().get_pixel(shown.width() / 2, shown.height() / 8).0;
        assert!(top[0] > 150 && top[1] < 100, "{top:?}");
    }
}
