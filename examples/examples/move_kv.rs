//! Two processes exchange KV: one has computed blocks, the other fetches them into its own cache, by shared memory.

#![expect(clippy::print_stdout, reason = "an example shows its answers")]

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use llmd_kvxfer::{Agent, Event, Grant, KvLayout, Lease, Region, Shm};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "prefill-0".into());
    let layout = KvLayout::opaque("", 1024, 65536)?;
    let agent = Agent::builder(&name).transport(Shm::default()).build()?;
    let pool = agent.register(Region::memfd(layout.end() as usize)?, layout)?;
    if name == "decode-0" {
        let (mut grant, patience) = (Vec::new(), Duration::from_secs(5));
        std::io::stdin().read_to_end(&mut grant)?;
        let op = agent.fetch(&Grant::from_bytes(&grant)?, &pool, &[9, 4, 2], patience)?;
        let fetched = agent.wait(op, patience)?;
        println!("{name} has {} blocks by {}: {}", fetched.blocks.count(), fetched.transport, fetched.outcome);
        return Ok(());
    }
    for block in [3, 1, 7] {
        pool.write_block(block, &[block as u8; 65536])?;
    }
    let grant = agent.grant(&pool, &[3, 1, 7], Lease::for_secs(30))?; // goes with the request
    let mut decode = Command::new(std::env::current_exe()?).arg("decode-0").stdin(Stdio::piped()).spawn()?;
    decode.stdin.take().expect("it was asked for").write_all(&grant.to_bytes())?;
    decode.wait()?;
    let mut events = Vec::new();
    agent.poll(&mut events)?;
    for event in events {
        let Event::LeaseEnded(ended) = event else { continue };
        println!("{name} may use {} blocks again: {}", ended.free.len(), ended.end.as_str());
    }
    Ok(())
}
