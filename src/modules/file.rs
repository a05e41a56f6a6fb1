//! x
use super::*;
/// x
pub struct File;
impl Module for File {
    fn name(&self) -> &'static str {
        "file"
    }
    fn validate(&self, _: &Value) -> Result<(), ParameterError> {
        Ok(())
    }
    fn run(&self, _: &Value, _: Settings) -> ModuleResult {
        Default::default()
    }
    fn parse_arguments(&self, _: &[String]) -> Result<Value, ParameterError> {
        Ok(Value::Null)
    }
    fn help(&self) -> &'static str {
        ""
    }
    fn print(&self, _: &ModuleResult) -> Vec<String> {
        vec![]
    }
}
