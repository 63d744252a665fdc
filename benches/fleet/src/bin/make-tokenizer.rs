//! Writes `tokenizer/{tokenizer.json, tokenizer_config.json}`: trained from a seed, the same every time.

use std::path::Path;

use llmd_fleet::vocabulary::{config_json, tokenizer_json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tokenizer");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("tokenizer.json"), tokenizer_json()?)?;
    std::fs::write(folder.join("tokenizer_config.json"), config_json())?;
    Ok(())
}
