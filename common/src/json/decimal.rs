//! Fractions as they stand in configurations, without the tables that the last bit of any number would take.

/// Ten to this power and below is exact as a float.
const EXACT_POWER: i32 = 22;
/// Whole numbers below are exact as floats.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The number that a decimal text stands for: exactly, if it has no more than 15 digits and no great exponent, else
/// to its last bit or two. `None`: it is no number, or one beyond all floats.
#[must_use]
pub fn read(text: &str) -> Option<f64> {
    let (is_negative, mut rest) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (mut mantissa, mut exponent) = (0_u64, 0_i32);
    let (mut has_digits, mut is_fraction) = (false, false);
    while let Some((byte, behind)) = rest.split_first() {
        match byte {
            b'0'..=b'9' => {
                has_digits = true;
                // What does not fit any more is too small to matter.
                let longer = mantissa.checked_mul(10).and_then(|ten| ten.checked_add(u64::from(byte - b'0')));
                match longer {
                    Some(longer) => {
                        mantissa = longer;
                        exponent -= i32::from(is_fraction);
                    }
                    None => exponent += i32::from(!is_fraction),
                }
            }
            b'.' if !is_fraction => is_fraction = true,
            _ => break,
        }
        rest = behind;
    }
    if let [b'e' | b'E', power @ ..] = rest {
        exponent = exponent.saturating_add(std::str::from_utf8(power).ok()?.parse().ok()?);
        rest = &[];
    }
    if !has_digits || !rest.is_empty() {
        return None;
    }
    let number = scaled(mantissa as f64, exponent);
    number.is_finite().then_some(if is_negative { -number } else { number })
}

fn scaled(mut number: f64, mut exponent: i32) -> f64 {
    while exponent != 0 && number != 0.0 && number.is_finite() {
        let step = exponent.clamp(-EXACT_POWER, EXACT_POWER);
        let power = (0..step.abs()).fold(1.0, |power, _| power * 10.0);
        number = if step < 0 { number / power } else { number * power };
        exponent -= step;
    }
    number
}

/// The shortest decimal text of a number that has few digits, with a point in it. `None`: it has many.
#[must_use]
pub fn write(number: f64) -> Option<String> {
    for places in 0..=9_u8 {
        let shifted = scaled(number, i32::from(places)).round();
        if shifted.abs() >= EXACT {
            return None;
        }
        if scaled(shifted, -i32::from(places)) == number {
            #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and fits, see above")]
            let digits = (shifted as i64).unsigned_abs().to_string();
            let sign = if number < 0.0 { "-" } else { "" };
            let digits = format!("{digits:0>width$}", width = usize::from(places) + 1);
            let (whole, fraction) = digits.split_at_checked(digits.len() - usize::from(places))?;
            return Some(format!("{sign}{whole}.{}", if places == 0 { "0" } else { fraction }));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_numbers_are_read_exactly() {
        for text in [
            "0",
            "-0.0",
            "1.5",
            "0.1",
            "-2.25",
            "3.14159",
            "1e3",
            "1E-3",
            "+7.5",
            "123456789012345",
            "2024.1",
            "1.",
            ".5",
            "5e22",
            "1e-22",
        ] {
            let expected: f64 = text.parse().unwrap();
            assert_eq!(read(text).map(f64::to_bits), Some(expected.to_bits()), "{text}");
        }
        for text in
            ["", "-", ".", "e3", "1e", "1x", "0x1", "1e999", "1.2.3", " 1", "nan", "inf", "1e99999999999"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn other_numbers_are_read_to_a_bit_or_two() {
        for text in [
            "0.12345678901234567890123",
            "123456789012345678901234567890",
            "1.7976931348623157e308",
            "1e-300",
            "9007199254740993.5",
        ] {
            let expected: f64 = text.parse().unwrap();
            let found = read(text).unwrap();
            assert!(found.to_bits().abs_diff(expected.to_bits()) <= 16, "{text}: {found} and {expected}");
        }
        assert_eq!(read("1e-999"), Some(0.0));
    }

    #[test]
    fn numbers_of_few_digits_are_written_as_they_were() {
        for text in ["1.5", "-0.25", "0.1", "2024.1", "100000.5", "0.000000001", "7.0", "-3.0"] {
            assert_eq!(write(text.parse().unwrap()).as_deref(), Some(text));
        }
        for number in [1e300, 1.0 / 3.0, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY] {
            assert_eq!(write(number), None, "{number}");
        }
    }
}
