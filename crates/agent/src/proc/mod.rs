//! `/proc`: processes and the node.

pub mod environ;
pub mod node;
pub mod process;
pub mod table;
