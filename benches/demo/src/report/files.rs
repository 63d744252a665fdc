//! The files that a run leaves behind.

use std::fs;
use std::path::{Path, PathBuf};

use llmd_core::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use crate::args::Args;
use crate::race::RaceResult;
use crate::report::{race, svg};

/// Writes `text`, making the folder it goes to.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when it cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> Result<PathBuf> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| Error::new(ErrorKind::Unavailable, format!("cannot write {}: {error}", path.display())))?;
    Ok(path.to_owned())
}

/// Writes the picture, the table, the requests and the figures of a run whose engines ran `speed` times faster than real
/// time, and says where they are.
///
/// # Errors
///
/// As [`write`].
pub(crate) fn all(args: &Args, race: &[RaceResult], speed: f64, caption: &str, figures: &Value) -> Result<Vec<String>> {
    let figures = format!("{figures:#}\n");
    let mut written = vec![
        write(&args.out.join("race.svg"), &svg::picture(race, caption))?,
        write(&args.out.join("race.md"), &race::table(race).markdown())?,
        write(&args.out.join("requests.json"), &requests(race, speed).to_string())?,
        write(&args.out.join("demo.json"), &figures)?,
    ];
    if let Some(path) = &args.json {
        written.push(write(path, &figures)?);
    }
    Ok(written.into_iter().map(|path| path.display().to_string()).collect())
}

/// Every request of the race, for those who want to plot it in their own way. Times are engine milliseconds.
pub(crate) fn requests(results: &[RaceResult], speed: f64) -> Value {
    let policy = |result: &RaceResult| {
        let request = |sample: &crate::client::Sample| {
            json!({
                "id": sample.id,
                "endpoint": sample.endpoint,
                "sent_ms": (sample.sent.as_secs_f64() * 1000.0 * speed).round(),
                "late_ms": (sample.late.as_secs_f64() * 1000.0 * speed).round(),
                "ttft_ms": sample.ttft_ms(speed).map(f64::round),
                "prompt_tokens": sample.prompt_tokens,
                "output_tokens": sample.output_tokens,
                "cached_tokens": sample.cached,
                "predicted_cached_tokens": sample.predicted,
                "attempts": sample.attempts,
                "ended_well": sample.is_done(),
            })
        };
        (result.policy.name().to_owned(), result.samples.iter().map(request).collect::<Value>())
    };
    results.iter().map(policy).collect::<serde_json::Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn a_file_is_written_into_a_folder_that_was_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(&folder.path().join("a/b/race.md"), "text").unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "text");

        let error = write(folder.path(), "text").unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
    }

    #[test]
    fn every_request_is_there() {
        let results = [crate::race::tests::result(Policy::ExactPrefix, 10.0, &[10, 20])];
        let requests = requests(&results, 10.0);
        assert_eq!(requests["exact_prefix"].as_array().unwrap().len(), 2);
        assert_eq!(requests["exact_prefix"][1]["ttft_ms"], 200.0);
        assert_eq!(requests["exact_prefix"][1]["cached_tokens"], 45);
    }
}
