// What the server says of trials, cases and reviews.

export interface SourceFlow {
  source: string;
  rendered: number;
  sliced: number;
  answered: number;
}

export interface TrialFlow {
  mode: string;
  trial: string;
  question: string;
  planned: number;
  inserted: number;
  sources: SourceFlow[];
  rejected: number;
  accepted_by_people: number;
  rejected_by_people: number;
}

export interface ArmFlow {
  arm: string;
  asked_cases: number | null;
  got_cases: number;
  malignant: number | null;
  donors: number;
  host_persons: number;
  note: string;
}

export interface BalanceRow {
  arm: string;
  marginal: string;
  level: string;
  status: string;
  asked_share: number | null;
  got_share: number | null;
  asked: number | null;
  got: number | null;
  standardised_difference: number | null;
}

export interface TrialTold {
  flow: TrialFlow;
  arms: ArmFlow[];
  balance: BalanceRow[];
}

export interface CaseRow {
  case_uid: string;
  arm: string;
  number: number;
  host_scan_uid: string;
  n_nodules: number;
  lobe: string | null;
  diameter_mm: number | null;
  stage: string;
  slice_uid: string | null;
  verdict: string | null;
  reviewer: string | null;
}

export interface Sheet {
  total: number;
  arms: string[];
  rows: CaseRow[];
}

export interface Review {
  case_uid: string;
  reviewer: string;
  verdict: "accept" | "reject";
  reason: string;
  number: number;
  at: string;
}

export interface StoryTable {
  caption: string;
  columns: string[];
  rows: (string | number | boolean | null)[][];
}

export interface SlicePicture {
  slice_uid: string;
  condition: string;
  source: string;
  profile: string;
  presence: string;
  guidance_site: string;
  z_offset: number;
}

export interface CaseTold {
  case_uid: string;
  mode: string;
  mark: string;
  lead: string;
  tables: StoryTable[];
  slices: SlicePicture[];
  reviews: Review[];
}

export const SITES: Record<string, string> = {
  lesion: "nodule",
  cleared_lesion: "its place on the lesion-free twin",
  cleared: "a place where a native nodule was cleared",
  never: "a place without a nodule",
};

export const plain = (text: string) => text.replaceAll("_", " ");
export const percent = (share: number | null) => (share === null ? "" : `${(100 * share).toFixed(1)}`);
