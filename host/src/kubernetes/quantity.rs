//! Amounts of memory, as Kubernetes and Redis write them.

/// A quantity of Kubernetes in bytes, rounded down. None: it is none, or not a whole number of a unit.
pub fn bytes(quantity: &str) -> Option<u64> {
    let quantity = quantity.trim();
    let split = quantity.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(split);
    let factor = match unit {
        "" => 1,
        "k" => 1000,
        "M" => 1000_u64.pow(2),
        "G" => 1000_u64.pow(3),
        "T" => 1000_u64.pow(4),
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    scaled(number, factor)
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

/// A decimal number of units.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if part.is_empty() {
        return Some(whole);
    }
    let digits = u32::try_from(part.len()).ok().filter(|digits| *digits <= 9)?;
    let part = u128::from(part.parse::<u64>().ok()?) * u128::from(factor) / 10_u128.pow(digits);
    whole.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_and_values_of_maxmemory_are_bytes() {
        let rows =
            [("1Gi", 1 << 30), ("1.5Gi", 3 << 29), ("100M", 100_000_000), ("7", 7), ("512Ki", 512 << 10)];
        for (quantity, expected) in rows {
            assert_eq!(bytes(quantity), Some(expected), "{quantity}");
        }
        for bad in ["", "Gi", "1Xi", "-1", "1e3", "99999999999Ti"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        let rows = [("100mb", Some(100 << 20)), ("1G", Some(1_000_000_000)), ("0", None), ("many", None)];
        for (value, expected) in rows {
            assert_eq!(bytes_of_directive(value), expected, "{value}");
        }
    }
}
