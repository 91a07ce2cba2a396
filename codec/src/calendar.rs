//! Instants as text, in the two spellings that reach the wire: JSON dates and HTTP dates.
//!
//! ```text
//! 2026-11-23T16:14:33.005Z          JavaScript's `Date.prototype.toISOString`, which is what its JSON has
//! Mon, 23 Nov 2026 16:14:33 GMT     IMF-fixdate of RFC 9110 section 5.6.7
//! ```
//!
//! Instants are milliseconds since 1970 in UTC, without leap seconds, in the proleptic Gregorian calendar.

use crate::json_string::write_decimal;

/// The farthest from 1970 that a JavaScript `Date` may be. Milliseconds.
pub(crate) const DATE_MS_MAX: i64 = 8_640_000_000_000_000;

const DAY_MS: i64 = 86_400_000;

/// Days from 1 March of the year 0 to 1 January 1970: counted from March, a leap day is the last day of its year.
const EPOCH_DAY_FROM_MARCH_0: i64 = 719_468;

/// 400 years, after which the calendar repeats itself. Days.
const ERA_DAYS: i64 = 146_097;

struct Civil {
    year: i64,
    /// 1 to 12.
    month: usize,
    day: u64,
    /// 0 is Sunday.
    weekday: usize,
    ms_of_day: u64,
}

impl Civil {
    fn of(unix_ms: i64) -> Self {
        let days = unix_ms.div_euclid(DAY_MS);
        let from_march = days + EPOCH_DAY_FROM_MARCH_0;
        let era = from_march.div_euclid(ERA_DAYS);
        let day_of_era = from_march.rem_euclid(ERA_DAYS);
        // Of the days that leap days add, those are taken out which lie before this one: one in 4 years, but for
        // one in 100, but for the last of the 400.
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // From March on the months have 31, 30, 31, 30, 31 days in turn: 153 days in five months.
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = (month_from_march + 2) % 12 + 1;
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Self {
            year,
            month: month as usize,
            day: day as u64,
            weekday: (days + 4).rem_euclid(7) as usize,
            ms_of_day: unix_ms.rem_euclid(DAY_MS) as u64,
        }
    }
}

/// Appends `2026-11-23T16:14:33.005Z`; years outside 0 to 9999 get a sign and six digits.
///
/// `false`, and nothing appended, beyond [`DATE_MS_MAX`], where JavaScript has no date.
pub(crate) fn write_iso_date(out: &mut Vec<u8>, unix_ms: i64) -> bool {
    if !(-DATE_MS_MAX..=DATE_MS_MAX).contains(&unix_ms) {
        return false;
    }
    let civil = Civil::of(unix_ms);
    if (0..=9999).contains(&civil.year) {
        write_padded(out, civil.year.unsigned_abs(), 4);
    } else {
        out.push(if civil.year < 0 { b'-' } else { b'+' });
        write_padded(out, civil.year.unsigned_abs(), 6);
    }
    out.push(b'-');
    write_padded(out, civil.month as u64, 2);
    out.push(b'-');
    write_padded(out, civil.day, 2);
    out.push(b'T');
    write_time(out, civil.ms_of_day / 1000);
    out.push(b'.');
    write_padded(out, civil.ms_of_day % 1000, 3);
    out.push(b'Z');
    true
}

/// Appends `Mon, 23 Nov 2026 16:14:33 GMT`. The year has to be one from 0 to 9999.
pub(crate) fn write_http_date(out: &mut Vec<u8>, unix_seconds: u64) {
    const WEEKDAYS: [&[u8]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let civil = Civil::of((unix_seconds as i64).saturating_mul(1000));
    out.extend_from_slice(WEEKDAYS[civil.weekday]);
    out.extend_from_slice(b", ");
    write_padded(out, civil.day, 2);
    out.push(b' ');
    out.extend_from_slice(MONTHS[civil.month - 1]);
    out.push(b' ');
    write_padded(out, civil.year.unsigned_abs(), 4);
    out.push(b' ');
    write_time(out, civil.ms_of_day / 1000);
    out.extend_from_slice(b" GMT");
}

fn write_time(out: &mut Vec<u8>, second_of_day: u64) {
    write_padded(out, second_of_day / 3600, 2);
    out.push(b':');
    write_padded(out, second_of_day / 60 % 60, 2);
    out.push(b':');
    write_padded(out, second_of_day % 60, 2);
}

fn write_padded(out: &mut Vec<u8>, number: u64, digit_count: u32) {
    for missing in (1..digit_count).rev() {
        if number < 10u64.pow(missing) {
            out.push(b'0');
        }
    }
    write_decimal(out, number);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn iso(unix_ms: i64) -> Option<String> {
        let mut out = Vec::new();
        write_iso_date(&mut out, unix_ms).then(|| String::from_utf8(out).unwrap())
    }

    fn http(unix_seconds: u64) -> String {
        let mut out = Vec::new();
        write_http_date(&mut out, unix_seconds);
        String::from_utf8(out).unwrap()
    }

    /// Each right side is what `new Date(left).toISOString()` printed in Node 20.
    #[test]
    fn iso_dates_are_those_of_javascript() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (5, "1970-01-01T00:00:00.005Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_795_450_473_005, "2026-11-23T16:14:33.005Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "+010000-01-01T00:00:00.000Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
            (-62_167_219_200_001, "-000001-12-31T23:59:59.999Z"),
            (DATE_MS_MAX, "+275760-09-13T00:00:00.000Z"),
            (-DATE_MS_MAX, "-271821-04-20T00:00:00.000Z"),
        ];
        for (unix_ms, text) in cases {
            assert_eq!(iso(unix_ms).as_deref(), Some(text), "{unix_ms}");
        }
        for unix_ms in [DATE_MS_MAX + 1, -DATE_MS_MAX - 1, i64::MIN, i64::MAX] {
            assert_eq!(iso(unix_ms), None);
        }
    }

    #[test]
    fn http_dates_are_those_of_the_specification() {
        assert_eq!(http(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http(1_795_450_473), "Mon, 23 Nov 2026 16:14:33 GMT");
        assert_eq!(http(253_402_300_799), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    fn is_leap(year: i64) -> bool {
        year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    }

    /// The reference counts every year and month from 1970.
    fn plain(unix_ms: i64) -> (i64, usize, u64) {
        let mut days = unix_ms.div_euclid(DAY_MS);
        let mut year = 1970;
        let length = |year| if is_leap(year) { 366 } else { 365 };
        while days < 0 {
            year -= 1;
            days += length(year);
        }
        while days >= length(year) {
            days -= length(year);
            year += 1;
        }
        let february = if is_leap(year) { 29 } else { 28 };
        let mut month = 1;
        for month_days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            if days < month_days {
                break;
            }
            days -= month_days;
            month += 1;
        }
        (year, month, days as u64 + 1)
    }

    proptest! {
        #[test]
        fn dates_are_those_of_counting(unix_ms in -100_000_000_000_000i64..300_000_000_000_000) {
            let civil = Civil::of(unix_ms);
            prop_assert_eq!((civil.year, civil.month, civil.day), plain(unix_ms));
        }
    }
}
