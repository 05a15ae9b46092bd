// What the server tells: by what numbers can be chosen.
export interface Choices {
  analysis: string;
  task: string[];
  condition: string[];
  metric: string[];
  source: string[];
  reader: string[];
}
export interface ChoiceList {
  analyses: Choices[];
  readers: string[];
}
