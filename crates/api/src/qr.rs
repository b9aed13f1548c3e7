//! QR codes, drawn as SVG and as PNG.

use qrcode::{Color, EcLevel, QrCode};

/// Pixels across, unless asked otherwise.
pub const SIZE_DEFAULT: u32 = 512;

/// Fewest pixels across.
pub const SIZE_MIN: u32 = 64;

/// Most pixels across.
pub const SIZE_MAX: u32 = 2048;

/// Modules around the code, unless asked otherwise: what the standard (ISO/IEC 18004) asks for.
pub const MARGIN_DEFAULT: u32 = 4;

/// Most modules around the code.
pub const MARGIN_MAX: u32 = 16;

/// A code, module by module.
pub struct Qr {
    /// Modules across.
    width: usize,
    /// Row by row; `true`: dark.
    modules: Vec<bool>,
}

/// A text that no code holds.
#[derive(Debug, thiserror::Error)]
#[error("failed to make a QR code")]
pub struct TooLong(#[from] qrcode::types::QrError);

impl Qr {
    /// The code of a text. A sixth of it may be damaged and it is still read.
    ///
    /// # Errors
    /// When the text has more than 2,331 bytes.
    pub fn of(text: &str) -> Result<Self, TooLong> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M)?;
        let modules = code.to_colors().into_iter().map(|color| color == Color::Dark).collect();
        Ok(Self { width: code.width(), modules })
    }

    fn is_dark(&self, x: usize, y: usize) -> bool {
        self.modules[y * self.width + x]
    }

    /// The code as SVG, `size` pixels across unless it is scaled, with `margin` modules around it. It is black on white, also where
    /// the page is dark: cameras ask for that.
    pub fn svg(&self, size: u32, margin: u32) -> String {
        let margin = margin as usize;
        let whole = self.width + 2 * margin;
        let mut path = String::new();
        for y in 0..self.width {
            let mut x = 0;
            while x < self.width {
                let run = (x..self.width).take_while(|at| self.is_dark(*at, y)).count();
                if run > 0 {
                    path.push_str(&format!("M{} {}h{run}v1h-{run}z", x + margin, y + margin));
                }
                x += run.max(1);
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{size}\" height=\"{size}\" viewBox=\"0 0 {whole} {whole}\" \
             shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{whole}v{whole}H0z\"/>\
             <path fill=\"#000\" d=\"{path}\"/></svg>"
        )
    }

    /// The code as PNG, `size` pixels across: as many whole pixels a module as fit, and what is left is white around it. A
    /// code that does not fit is as large as it needs to be.
    pub fn png(&self, size: u32, margin: u32) -> Vec<u8> {
        let modules = self.width + 2 * margin as usize;
        let scale = (size as usize / modules).max(1);
        let size = (size as usize).max(modules * scale);
        let offset = (size - scale * self.width) / 2;
        let row_bytes = size.div_ceil(8);
        let mut rows = vec![0xff_u8; row_bytes * size];
        for y in 0..size {
            for x in 0..size {
                let module =
                    |at: usize| at.checked_sub(offset).map(|at| at / scale).filter(|at| *at < self.width);
                if let (Some(column), Some(row)) = (module(x), module(y))
                    && self.is_dark(column, row)
                {
                    rows[y * row_bytes + x / 8] &= !(0x80 >> (x % 8));
                }
            }
        }
        let mut bytes = Vec::new();
        let side = u32::try_from(size).expect("a size has a limit");
        let mut encoder = png::Encoder::new(&mut bytes, side, side);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        let mut writer = encoder.write_header().expect("memory takes it");
        writer.write_image_data(&rows).expect("there are as many bytes as the size asks for");
        drop(writer);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Width and pixels of a PNG of one bit; `true`: black.
    fn pixels(bytes: &[u8]) -> (usize, Vec<bool>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("a PNG");
        let mut buffer = vec![0; reader.output_buffer_size().expect("small")];
        let info = reader.next_frame(&mut buffer).expect("an image");
        let (width, row_bytes) = (info.width as usize, info.line_size);
        let black = |at: usize| {
            let (x, y) = (at % width, at / width);
            buffer[y * row_bytes + x / 8] & (0x80 >> (x % 8)) == 0
        };
        (width, (0..width * info.height as usize).map(black).collect())
    }

    #[test]
    fn a_code_has_its_finders_where_cameras_look_and_room_around_it() {
        let qr = Qr::of("https://go.example.com/spring").expect("a code");
        let (width, black) = pixels(&qr.png(256, 4));
        assert_eq!(width, 256);
        let modules = qr.width + 8;
        let scale = 256 / modules;
        let offset = (256 - scale * qr.width) / 2;
        assert!(offset >= 4 * scale);
        let at = |x: usize, y: usize| black[(offset + y * scale) * width + offset + x * scale];
        for (x, y) in [(0, 0), (qr.width - 7, 0), (0, qr.width - 7)] {
            assert!((0..7).all(|step| at(x + step, y) && at(x, y + step)), "{x} {y}");
            assert!(!at(x + 1, y + 1) && at(x + 3, y + 3), "{x} {y}");
        }
        assert!((0..width * offset).all(|pixel| !black[pixel]), "nothing stands in the margin");
    }

    #[test]
    fn svg_and_png_show_the_same_modules() {
        let qr = Qr::of("https://go.example.com/a").expect("a code");
        let svg = qr.svg(300, 2);

        let runs = svg.split("v1h-").filter_map(|run| run.rsplit('h').next()?.parse::<usize>().ok());
        let drawn: usize = runs.sum();
        assert_eq!(drawn, qr.modules.iter().filter(|dark| **dark).count());
        let (_, black) = pixels(&qr.png(1, 0));
        assert_eq!(black, qr.modules, "one pixel a module");
        assert!(svg.starts_with("<svg xmlns") && svg.contains("width=\"300\""));
    }

    #[test]
    fn a_text_without_end_has_no_code() {
        assert!(Qr::of(&"a".repeat(2331)).is_ok());
        assert!(Qr::of(&"a".repeat(2332)).is_err());
    }
}
