package immunity

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// shown is one published vulnerability that has to do with images, archives,
// manifests, names or registries, and the test that shows that varve does not
// have it, at the lowest level where the real thing can be shown.
type shown struct{ ids, file, test string }

// What is not here has no counterpart: nothing is built, imported or restored
// from a checkpoint (CVE-2021-3602, CVE-2024-1753, CVE-2024-9407, CVE-2024-9675,
// CVE-2024-11218, CVE-2024-23651, CVE-2024-23653, CVE-2026-33747, CVE-2026-33748,
// CVE-2026-44517), nothing is copied into or out of containers (CVE-2018-15664,
// CVE-2026-41568, CVE-2026-42306), and no remapped root is there (CVE-2021-21284).
var inventory = []shown{
	// Manifests, configs, indexes.
	{"CVE-2020-1702 CVE-2023-25153", "imagestore/immunity_test.go", "TestCVE_2020_1702_AnswersAreBounded"},
	{"CVE-2020-1702 CVE-2021-41190 CVE-2024-3727", "imagestore/manifest/manifest_test.go", "TestParseRejects"},
	{"CVE-2021-41190 GHSA-5j5w", "imagestore/immunity_test.go", "TestCVE_2021_41190_GHSA_5j5w_AmbiguousDocuments"},
	{"CVE-2021-21285 CVE-2024-36620 CVE-2024-23650", "imagestore/immunity_test.go", "TestCVE_2021_21285_CVE_2024_36620_MalformedDocuments"},
	{"CVE-2024-24557", "imagestore/immunity_layer_test.go", "TestCVE_2024_24557_NoPoisonedLayers"},
	{"CVE-2022-24778", "imagestore/immunity_layer_test.go", "TestCVE_2022_24778_EncryptedLayers"},
	{"CVE-2024-36621 CVE-2024-36623", "imagestore/immunity_layer_test.go", "TestCVE_2024_36621_CVE_2024_36623_ConcurrentPulls"},
	{"CVE-2021-21334", "cri/plan/golden_test.go", "TestPlansShareNothing"},
	// Names and digests.
	{"CVE-2024-3727", "imagestore/immunity_test.go", "TestCVE_2024_3727_DigestsAreNoPaths"},
	{"CVE-2019-13139", "imagestore/reference/reference_test.go", "TestCVE_2019_13139_NamesAreNoCommands"},
	{"CVE-2026-50195", "imagestore/immunity_layer_test.go", "TestCVE_2026_50195_ImagesDoNotNameThemselves"},
	// Registries.
	{"CVE-2020-15157", "imagestore/auth_test.go", "TestCVE_2020_15157_CredentialsStayHome"},
	{"CVE-2020-15157", "imagestore/immunity_layer_test.go", "TestCVE_2020_15157_ForeignLayers"},
	{"CVE-2019-10214", "imagestore/immunity_test.go", "TestCVE_2019_10214_RealmWithoutTLS"},
	{"CVE-2019-13509", "imagestore/immunity_test.go", "TestCVE_2019_13509_NoSecretsInMessages"},
	// Archives.
	{"CVE-2020-10696", "imagestore/unpack/unpack_test.go", "TestCVE_2020_10696_Climbing"},
	{"CVE-2021-32760 CVE-2021-41089", "imagestore/unpack/unpack_test.go", "TestCVE_2021_32760_AttributesStayInside"},
	{"CVE-2021-32760", "e2e/image/hostile_test.go", "TestEntriesThatClimbOut"},
	{"CVE-2017-14992", "imagestore/unpack/unpack_test.go", "TestCVE_2017_14992_HugeHeader"},
	{"CVE-2021-20291", "imagestore/immunity_layer_test.go", "TestCVE_2021_20291_MalformedLayersEnd"},
	{"CVE-2025-47290", "imagestore/unpack/race_test.go", "TestCVE_2025_47290_ParentsThatTurnIntoLinks"},
	{"CVE-2026-41567 CVE-2019-14271", "imagestore/immunity_layer_test.go", "TestCVE_2026_41567_CVE_2019_14271_NoHelperPrograms"},
	// What lies on the disk.
	{"CVE-2021-41091 CVE-2021-41103 CVE-2024-25621", "imagestore/immunity_layer_test.go", "TestCVE_2021_41091_CVE_2021_41103_CVE_2024_25621_ModesOfTheStore"},
	{"CVE-2021-41103 CVE-2024-25621", "e2e/immunity/host_test.go", "TestCVE_2021_41103_ModesOfState"},
	// What an image says of its processes.
	{"CVE-2016-3697", "e2e/immunity/start_test.go", "TestCVE_2016_3697_NumericUser"},
	{"CVE-2024-40635 CVE-2026-46680", "cri/plan/user_fuzz_test.go", "FuzzCVE_2026_46680_UserStrings"},
	{"CVE-2024-40635 CVE-2026-46680", "e2e/immunity/start_test.go", "TestCVE_2024_40635_UserOverflow"},
	{"CVE-2025-4437 CVE-2026-47262", "imagestore/immunity_layer_test.go", "TestCVE_2025_4437_CVE_2026_47262_HugeAccounts"},
	{"CVE-2025-4437 CVE-2026-47262", "e2e/immunity/image_test.go", "TestCVE_2025_4437_CVE_2026_47262_HugePasswd"},
	{"CVE-2022-23648 CVE-2019-16884", "e2e/immunity/start_test.go", "TestCVE_2022_23648_VolumeTraversal"},
	{"CVE-2024-5154", "e2e/immunity/start_test.go", "TestCVE_2024_5154_EtcLeadsOut"},
	{"CVE-2026-41579 CVE-2026-47766 CVE-2025-31133 CVE-2023-28642", "e2e/immunity/start_test.go", "TestCVE_2026_41579_SymlinkedDevAndProc"},
	{"CVE-2026-55686", "e2e/immunity/image_test.go", "TestCVE_2026_55686_WorkingDirectoryThroughLinks"},
	{"CVE-2024-21626", "e2e/immunity/start_test.go", "TestCVE_2024_21626_LeakedDescriptors"},
	{"CVE-2024-23652", "e2e/immunity/image_test.go", "TestCVE_2024_23652_MountPointsThroughLinks"},
	{"CVE-2026-53488", "e2e/immunity/image_test.go", "TestCVE_2026_53488_LabelsOfTheImage"},
	{"CVE-2024-8676 CVE-2026-53489 CVE-2026-53492", "e2e/immunity/image_test.go", "TestCVE_2024_8676_CVE_2026_53489_CVE_2026_53492_CheckpointImage"},
}

// The list says the truth: each test is where it says, and carries the ids.
func TestInventoryOfImages(t *testing.T) {
	for _, s := range inventory {
		path := "../../" + s.file
		text, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		about := textOf(t, path, text, s.test)
		if about == "" {
			t.Errorf("%s has no %s", s.file, s.test)
		}
		for _, id := range strings.Fields(s.ids) {
			if !strings.Contains(about, id) && !strings.Contains(about, strings.ReplaceAll(id, "-", "_")) {
				t.Errorf("%s in %s does not carry %s", s.test, s.file, id)
			}
		}
	}
}

// textOf is a function of a file with its comment; empty when it has none of that name.
func textOf(t *testing.T, path string, text []byte, name string) string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != name {
			continue
		}
		from := f.Pos()
		if f.Doc != nil {
			from = f.Doc.Pos()
		}
		return string(text[files.Position(from).Offset:files.Position(f.End()).Offset])
	}
	return ""
}
