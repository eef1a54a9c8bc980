//! Amounts of memory, as Kubernetes and Redis write them.

/// A quantity of Kubernetes in whole bytes: `512Mi`, `1.5G`, `1e9`. None: it is none, or below one.
pub fn bytes(quantity: &str) -> Option<u64> {
    let quantity = quantity.trim();
    let split = quantity.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(split);
    let power = |base: u128, exponent: u32| base.checked_pow(exponent);
    let (factor, divisor) = match unit {
        "" => (1, 1),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (power(1000, 2)?, 1),
        "G" => (power(1000, 3)?, 1),
        "T" => (power(1000, 4)?, 1),
        "P" => (power(1000, 5)?, 1),
        "E" => (power(1000, 6)?, 1),
        "Ki" => (1024, 1),
        "Mi" => (power(1024, 2)?, 1),
        "Gi" => (power(1024, 3)?, 1),
        "Ti" => (power(1024, 4)?, 1),
        "Pi" => (power(1024, 5)?, 1),
        "Ei" => (power(1024, 6)?, 1),
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let of_ten = power(10, exponent.unsigned_abs())?;
            if exponent < 0 { (1, of_ten) } else { (of_ten, 1) }
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = power(10, u32::try_from(fraction.len()).ok()?)?.checked_mul(divisor)?;
    let whole = digits.checked_mul(factor)? / divisor;
    u64::try_from(whole).ok().filter(|whole| *whole > 0)
}

/// A value of `maxmemory` in bytes. None: Redis would not take it, or it is 0, which means no limit.
pub fn bytes_of_directive(value: &str) -> Option<u64> {
    let value = value.trim().to_ascii_lowercase();
    let split = value.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(value.len());
    let (number, unit) = value.split_at(split);
    let factor = match unit {
        "" | "b" => 1,
        "k" => 1000,
        "m" => 1000_u64.pow(2),
        "g" => 1000_u64.pow(3),
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_and_values_of_maxmemory_are_bytes() {
        let rows = [
            ("1Gi", 1 << 30),
            ("1.5Gi", 3 << 29),
            ("100M", 100_000_000),
            ("7", 7),
            ("512Ki", 512 << 10),
            ("1500m", 1),
            ("2k", 2000),
            ("1e3", 1000),
            ("12E-1", 1),
        ];
        for (quantity, expected) in rows {
            assert_eq!(bytes(quantity), Some(expected), "{quantity}");
        }
        for bad in ["", "0", "Gi", "1Xi", "-1", "1Q", "1.x", "16Ei", "99999999999Ti"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        let rows = [("100mb", Some(100 << 20)), ("1G", Some(1_000_000_000)), ("0", None), ("many", None)];
        for (value, expected) in rows {
            assert_eq!(bytes_of_directive(value), expected, "{value}");
        }
    }
}
