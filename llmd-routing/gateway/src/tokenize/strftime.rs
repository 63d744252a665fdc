//! Today's date for chat templates: `strftime` in UTC and English.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// The first of January 1970 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// The time now, as `format` says.
///
/// Engines write it in the time zone of their machine, which is UTC in containers.
#[expect(clippy::disallowed_methods, reason = "a chat template asks for the date, which is no measure of time")]
pub(super) fn now(format: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    write(format, since.as_secs())
}

/// A time in seconds since 1970, as `format` says. A directive that is not known is written as it is.
fn write(format: &str, seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (name, weekday) = (MONTHS[month - 1], WEEKDAYS[(days % 7) as usize]);
    let mut out = String::new();
    let mut rest = format.chars();
    while let Some(letter) = rest.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        match rest.next() {
            Some('A') => out.push_str(weekday),
            Some('a') => out.push_str(&weekday[..3]),
            Some('B') => out.push_str(name),
            Some('b') => out.push_str(&name[..3]),
            Some('d') => out.push_str(&format!("{day:02}")),
            Some('H') => out.push_str(&format!("{:02}", second / 3600)),
            Some('M') => out.push_str(&format!("{:02}", second / 60 % 60)),
            Some('m') => out.push_str(&format!("{month:02}")),
            Some('S') => out.push_str(&format!("{:02}", second % 60)),
            Some('Y') => out.push_str(&year.to_string()),
            Some('y') => out.push_str(&format!("{:02}", year % 100)),
            Some('%') | None => out.push('%'),
            Some(other) => out.extend(['%', other]),
        }
    }
    out
}

/// Year, month and day of a day counted from 1970, in the Gregorian calendar.
fn civil(mut days: u64) -> (u64, usize, u64) {
    let mut year = 1970;
    while days >= 365 + leap(year) {
        days -= 365 + leap(year);
        year += 1;
    }
    let lengths = [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month + 1, days + 1)
}

fn leap(year: u64) -> u64 {
    u64::from(year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_python_does() {
        let all = "%A %a %B %b %d %H:%M:%S %Y-%m %y %% %Q";
        assert_eq!(write(all, 0), "Thursday Thu January Jan 01 00:00:00 1970-01 70 % %Q");
        assert_eq!(write(all, 951_827_696), "Tuesday Tue February Feb 29 12:34:56 2000-02 00 % %Q");
        assert_eq!(write("%d %b %Y%", 4_107_542_399), "28 Feb 2100%");
        assert_eq!(write("%d %b %Y", 4_107_542_400), "01 Mar 2100");
    }
}
