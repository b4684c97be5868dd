// Tests of RunnerCore.
