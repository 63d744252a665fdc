//! Two processes exchange KV: one has computed blocks, the other fetches them into its own cache, by shared memory.

#![expect(clippy::print_stdout, reason = "an example shows its answers")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use llmd_core::Result;
use llmd_kvxfer::{Agent, Event, Grant, KvLayout, Lease, Pool, Region, Shm};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    if std::env::args().nth(1).is_some() {
        let mut grant = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut grant)?;
        return Ok(decode(&Grant::from_bytes(&grant)?)?);
    }
    let (agent, pool) = agent("prefill-0")?;
    for block in [3, 1, 7] {
        pool.write_block(block, &[block as u8; 65536])?;
    }
    let grant = agent.grant(&pool, &[3, 1, 7], Lease::for_secs(30))?; // goes with the request
    let mut decode = Command::new(std::env::current_exe()?).arg("decode").stdin(Stdio::piped()).spawn()?;
    decode.stdin.take().expect("it was asked for").write_all(&grant.to_bytes())?;
    decode.wait()?;
    let mut events = Vec::new();
    agent.poll(&mut events)?;
    for event in events {
        if let Event::LeaseEnded(ended) = event {
            println!("prefill-0 may use {} blocks again: {}", ended.free.len(), ended.end.as_str());
        }
    }
    Ok(())
}

fn agent(name: &str) -> Result<(Agent, Pool)> {
    let layout = KvLayout::opaque("", 1024, 65536)?;
    let agent = Agent::builder(name).transport(Shm::default()).build()?;
    let pool = agent.register(Region::memfd(layout.end() as usize)?, layout)?;
    Ok((agent, pool))
}

fn decode(grant: &Grant) -> Result<()> {
    let (agent, pool) = agent("decode-0")?;
    let op = agent.fetch(grant, &pool, &[9, 4, 2], Duration::from_secs(5))?;
    let fetched = agent.wait(op, Duration::from_secs(5))?;
    println!("decode-0 has {} blocks by {}, {}", fetched.blocks.count(), fetched.transport, fetched.outcome);
    Ok(())
}
