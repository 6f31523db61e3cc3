//! Pictures of digits as the model wants them: 8x8 numbers from 0 (background) to 16 (ink).
//!
//! That is the scale of the data set, which counts the dark pixels in 4x4 fields of a scan. A PNG's grey values 0..=255
//! are scaled by 16/255; light is ink, as in the data set's own pictures. Colour becomes luma (ITU-R BT.601), what is
//! transparent becomes background. A picture of another size is resized by area average, whatever its proportions.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Limits, Transformations};

/// Width and height of the model's input.
pub const SIDE: usize = 8;
/// Numbers in the model's input.
pub const PIXELS: usize = SIDE * SIDE;
/// The largest number in the data set.
const INK: f32 = 16.0;

/// LIMIT: a scan of a whole page at 300 dpi has 9 million pixels; the answer comes from 64.
const MAX_DECODED: u64 = 16 * 1024 * 1024;
/// LIMIT: what a PNG of that many pixels takes when nothing can be compressed.
pub const MAX_FILE: usize = 64 * 1024 * 1024;

/// A picture, ready for the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Row by row, 0 to 16.
    pub pixels: [f32; PIXELS],
    /// Width and height of the file it came from.
    pub size: (u32, u32),
}

/// Bytes that give no picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Too many bytes.
    #[error("{got} bytes, at most {MAX_FILE} are read")]
    FileTooLarge {
        /// Bytes given.
        got: usize,
    },
    /// Too many pixels.
    #[error("{width}x{height} pixels, at most {MAX_DECODED} are decoded")]
    TooManyPixels {
        /// Width.
        width: u32,
        /// Height.
        height: u32,
    },
    /// Not a PNG file.
    #[error("not a readable PNG file")]
    Png(#[from] png::DecodingError),
}

impl Picture {
    /// Decodes a PNG file.
    pub fn from_png(bytes: &[u8]) -> Result<Self, PictureError> {
        if bytes.len() > MAX_FILE {
            return Err(PictureError::FileTooLarge { got: bytes.len() });
        }
        let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: MAX_FILE });
        decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
        let (width, height) = decoder.read_header_info()?.size();
        if u64::from(width) * u64::from(height) > MAX_DECODED {
            return Err(PictureError::TooManyPixels { width, height });
        }
        let mut reader = decoder.read_info()?;
        // EXPAND and STRIP_16 leave eight bits a channel and no palette.
        let channels = match reader.output_color_type() {
            (ColorType::Grayscale, BitDepth::Eight) => 1,
            (ColorType::GrayscaleAlpha, BitDepth::Eight) => 2,
            (ColorType::Rgb, BitDepth::Eight) => 3,
            (ColorType::Rgba, BitDepth::Eight) => 4,
            _ => return Err(PictureError::TooManyPixels { width, height }),
        };
        // LIMIT: 16 Mi pixels of four bytes; the size was checked above.
        let size = reader.output_buffer_size().ok_or(PictureError::TooManyPixels { width, height })?;
        let mut buffer = vec![0; size];
        reader.next_frame(&mut buffer)?;
        let grey: Vec<f32> = buffer.chunks_exact(channels).map(luma).collect();
        let pixels = area_average(&grey, width as usize, height as usize).map(|value| value * INK / 255.0);
        Ok(Self { pixels, size: (width, height) })
    }
}

/// Grey from 0 to 255 of one pixel of one to four channels; transparency is background, which is black.
fn luma(pixel: &[u8]) -> f32 {
    let grey = |r: u8, g: u8, b: u8| 0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b);
    let over_black = |value: f32, alpha: u8| value * f32::from(alpha) / 255.0;
    match *pixel {
        [v] => f32::from(v),
        [v, a] => over_black(f32::from(v), a),
        [r, g, b] => grey(r, g, b),
        [r, g, b, a] => over_black(grey(r, g, b), a),
        _ => 0.0,
    }
}

/// Averages a picture over an 8x8 grid. A source pixel that lies in two cells counts in each by the share of its area.
fn area_average(source: &[f32], width: usize, height: usize) -> [f32; PIXELS] {
    let columns = cells(width);
    let rows = cells(height);
    let mut result = [0.0; PIXELS];
    for (row, out) in rows.iter().zip(result.chunks_exact_mut(SIDE)) {
        for (column, out) in columns.iter().zip(out) {
            let mut sum = 0.0;
            let mut area = 0.0;
            for &(y, share_y) in row {
                for &(x, share_x) in column {
                    let value = source.get(y * width + x).copied().unwrap_or_default();
                    sum += f64::from(value) * share_x * share_y;
                    area += share_x * share_y;
                }
            }
            #[expect(clippy::cast_possible_truncation, reason = "an average of f32 values is within their range")]
            let average = if area > 0.0 { (sum / area) as f32 } else { 0.0 };
            *out = average;
        }
    }
    result
}

/// For each of the 8 cells along one side: the source positions in it and the share of each.
fn cells(length: usize) -> [Vec<(usize, f64)>; SIDE] {
    std::array::from_fn(|cell| {
        // In units of 1/8 source pixel, so that all borders are whole numbers: the cell covers `length` of them, a source pixel 8.
        let (start, end) = (cell * length, (cell + 1) * length);
        (start / SIDE..end.div_ceil(SIDE))
            .map(|position| {
                let covered = end.min((position + 1) * SIDE).saturating_sub(start.max(position * SIDE));
                (position, covered as f64)
            })
            .filter(|&(_, covered)| covered > 0.0)
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn png_of(width: u32, height: u32, color: ColorType, depth: BitDepth, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == ColorType::Indexed {
            encoder.set_palette([0, 0, 0, 255, 255, 255].as_slice());
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(data).unwrap();
        drop(writer);
        bytes
    }

    fn grey(width: u32, height: u32, data: &[u8]) -> [f32; PIXELS] {
        Picture::from_png(&png_of(width, height, ColorType::Grayscale, BitDepth::Eight, data)).unwrap().pixels
    }

    #[test]
    fn grey_values_are_scaled_to_the_data_sets_range() {
        let data: Vec<u8> = (0..64).map(|i| if i == 9 { 255 } else { i }).collect();
        let pixels = grey(8, 8, &data);
        assert!((pixels[9] - 16.0).abs() < 1e-6);
        assert!((pixels[63] - 63.0 * 16.0 / 255.0).abs() < 1e-6);
    }

    #[test]
    fn a_larger_picture_is_averaged_by_area() {
        // 16x16: every 2x2 block is one pixel.
        let data: Vec<u8> = (0..256).map(|i| if (i / 16) % 2 == 0 && i % 2 == 0 { 200 } else { 0 }).collect();
        assert!(grey(16, 16, &data).iter().all(|&v| (v - 50.0 * 16.0 / 255.0).abs() < 1e-5));
    }

    #[test]
    fn a_size_that_does_not_divide_shares_pixels_between_cells() {
        // 12 columns: a cell covers 1.5 of them. Column 1 is lit: half of it is in cell 0, half in cell 1.
        let data: Vec<u8> = (0..12 * 12).map(|i| if i % 12 == 1 { 255 } else { 0 }).collect();
        let pixels = grey(12, 12, &data);
        let third = 16.0 * 0.5 / 1.5;
        assert!((pixels[0] - third).abs() < 1e-5 && (pixels[1] - third).abs() < 1e-5, "{pixels:?}");
        assert!(pixels[2].abs() < 1e-6);
    }

    #[test]
    fn a_single_pixel_fills_the_grid() {
        assert!(grey(1, 1, &[255]).iter().all(|&v| (v - 16.0).abs() < 1e-6));
    }

    #[test]
    fn every_colour_type_becomes_grey() {
        let white = 16.0;
        for (color, depth, data, expected) in [
            (ColorType::Rgb, BitDepth::Eight, vec![255, 255, 255], white),
            (ColorType::Rgb, BitDepth::Eight, vec![255, 0, 0], 0.299 * white),
            (ColorType::Rgba, BitDepth::Eight, vec![255, 255, 255, 0], 0.0),
            (ColorType::Rgba, BitDepth::Eight, vec![255, 255, 255, 51], 0.2 * white),
            (ColorType::GrayscaleAlpha, BitDepth::Eight, vec![255, 255], white),
            (ColorType::Grayscale, BitDepth::Sixteen, vec![255, 255], white),
            (ColorType::Grayscale, BitDepth::One, vec![0x80], white),
            (ColorType::Indexed, BitDepth::Eight, vec![1], white),
        ] {
            let picture = Picture::from_png(&png_of(1, 1, color, depth, &data)).unwrap();
            assert!((picture.pixels[0] - expected).abs() < 1e-4, "{color:?} {data:?}: {}", picture.pixels[0]);
        }
    }

    #[test]
    fn bytes_that_are_no_png_are_refused() {
        let whole = png_of(8, 8, ColorType::Grayscale, BitDepth::Eight, &[7; 64]);
        let mut flipped = whole.clone();
        flipped[40] ^= 1;
        for bytes in [b"".as_slice(), b"GIF89a", &whole[..whole.len() / 2], &flipped] {
            assert!(matches!(Picture::from_png(bytes), Err(PictureError::Png(_))), "{} bytes", bytes.len());
        }
    }

    #[test]
    fn a_picture_beyond_the_limit_is_refused_by_its_header() {
        let mut bytes = png_of(1, 1, ColorType::Grayscale, BitDepth::Eight, &[0]);
        // Width and height 65535, checksum corrected.
        bytes[16..20].copy_from_slice(&65535_u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&65535_u32.to_be_bytes());
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        let got = Picture::from_png(&bytes);
        assert!(matches!(got, Err(PictureError::TooManyPixels { width: 65535, height: 65535 })), "{got:?}");
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        })
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Picture::from_png(&bytes);
        }

        #[test]
        fn no_change_to_a_png_panics(at in 8..200_usize, to in any::<u8>()) {
            let mut bytes = png_of(9, 13, ColorType::Rgba, BitDepth::Eight, &[99; 9 * 13 * 4]);
            if let Some(byte) = bytes.get_mut(at) { *byte = to; }
            let _ = Picture::from_png(&bytes);
        }

        #[test]
        fn the_average_brightness_survives_resizing(width in 1..40_u32, height in 1..40_u32, seed in any::<u8>()) {
            let data: Vec<u8> = (0..=u8::MAX).cycle().step_by(31).map(|v| v ^ seed).take((width * height) as usize).collect();
            let pixels = grey(width, height, &data);
            let before = data.iter().map(|&v| f64::from(v)).sum::<f64>() / f64::from(width * height) * 16.0 / 255.0;
            let after = pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / 64.0;
            prop_assert!((before - after).abs() < 1e-3, "{before} {after}");
        }
    }
}
