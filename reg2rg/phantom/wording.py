"""The words of the grammar: pure data. `{lung}`, `{sides}`, `{side}`, `{place}`, `{station}`, `{severity}`, `{mm}` are filled.

Every template of a finding names it in the terms that reports use, so that a labeler can recover the plan from the text;
normal sentences name no finding unless they deny it.
"""

from __future__ import annotations

Templates = dict[str, tuple[str, ...]]

DEMO: Templates = {
    "Medical material": ("a central venous catheter is seen.", "a venous catheter is present."),
    "Arterial wall calcification": ("calcified plaques are seen in the aortic wall.", "calcification is present in the aorta."),
    "Cardiomegaly": ("the heart is enlarged.", "cardiomegaly is present."),
    "Pericardial effusion": ("pericardial effusion is seen.", "pericardial effusion is present."),
    "Coronary artery wall calcification": (
        "calcified plaques are seen in the coronary arteries.",
        "calcification is present in the coronary arteries.",
    ),
    "Hiatal hernia": ("a hiatal hernia is seen.", "a sliding hiatal hernia is present."),
    "Lymphadenopathy": ("enlarged lymph nodes are seen in the mediastinum.", "mediastinal lymphadenopathy is present."),
    "Emphysema": ("emphysema is seen in the upper lobes.", "emphysematous changes are present in both lungs."),
    "Atelectasis": ("linear atelectasis is seen in {lung}.", "atelectasis is present in {lung}."),
    "Lung nodule": ("nodules are seen in {lung}.", "solid nodules are present in {lung}."),
    "Lung opacity": ("ground glass opacities are seen in {lung}.", "ground glass opacity is present in {lung}."),
    "Pulmonary fibrotic sequela": (
        "fibrotic sequela changes are seen in {lung}.",
        "sequela fibrotic bands are present in {lung}.",
    ),
    "Pleural effusion": ("pleural effusion is seen on {sides}.", "{side} pleural effusion is present."),
    "Mosaic attenuation pattern": ("mosaic attenuation pattern is seen.", "a mosaic attenuation pattern is present."),
    "Peribronchial thickening": ("peribronchial thickening is seen.", "diffuse peribronchial thickening is present."),
    "Consolidation": ("consolidation is seen in {lung}.", "an area of consolidation is present in {lung}."),
    "Bronchiectasis": ("bronchiectasis is seen in {lung}.", "bronchiectatic changes are present in {lung}."),
    "Interlobular septal thickening": (
        "interlobular septal thickening is seen.",
        "smooth interlobular septal thickening is present.",
    ),
}

DEMO_NORMAL: dict[str, tuple[str, str]] = {
    "abdomen": ("the upper abdominal organs are normal.", "the liver and spleen have normal size."),
    "bone": ("the bones are intact.", "the vertebrae have normal height."),
    "breast": ("both breasts are normal.", "the breast tissue is symmetric."),
    "esophagus": ("the esophagus has a normal course.", "the esophagus is of normal width."),
    "heart": ("the heart has normal size and shape.", "heart contours are normal."),
    "lung": ("both lungs are well aerated.", "the lungs are clear."),
    "mediastinum": ("the mediastinal vessels have normal width.", "the mediastinum is normal."),
    "pleura": ("the pleural surfaces are smooth.", "the pleura is of normal thickness."),
    "thyroid": ("the thyroid gland is homogeneous.", "both thyroid lobes are normal."),
    "trachea and bronchie": ("the trachea and main bronchi are open.", "the airways have a normal lumen."),
}

STRICT: Templates = {
    "Medical material": (
        "a central venous catheter is observed, its tip lies in the right atrium.",
        "there is a port catheter in the superior vena cava.",
        "a venous catheter about {mm} thick extends from the right side to the heart.",
        "medical material: a catheter is seen in the superior vena cava.",
    ),
    "Arterial wall calcification": (
        "calcified atheromatous plaques are observed in the wall of the thoracic aorta.",
        "{severity} wall calcification is seen in the aortic arch and the descending aorta.",
        "there are calcific plaques along the aorta.",
        "atherosclerotic calcifications are present in the aortic wall.",
    ),
    "Cardiomegaly": (
        "the heart is enlarged.",
        "cardiomegaly is present.",
        "the cardiothoracic ratio has increased and the heart is enlarged.",
        "{severity} cardiomegaly is observed.",
        "heart size has increased.",
    ),
    "Pericardial effusion": (
        "pericardial effusion is seen, {mm} at its thickest.",
        "there is {severity} pericardial effusion.",
        "pericardial effusion reaching {mm} in thickness is observed.",
        "effusion is present in the pericardial space.",
    ),
    "Coronary artery wall calcification": (
        "calcified plaques are observed in the coronary arteries.",
        "coronary artery calcification is present.",
        "{severity} calcific atheroma is seen in the walls of the coronary arteries.",
        "there are wall calcifications in the coronary arteries.",
    ),
    "Hiatal hernia": (
        "a hiatal hernia is observed.",
        "there is a sliding hiatal hernia of {mm}.",
        "a {severity} hiatal hernia is seen at the lower end of the esophagus.",
        "part of the stomach lies above the diaphragm, in keeping with a hiatal hernia.",
    ),
    "Lymphadenopathy": (
        "enlarged lymph nodes are seen in the mediastinum, the largest {mm} in the {station} area.",
        "mediastinal lymphadenopathy is present, most clearly {station}.",
        "there are pathologically enlarged {station} lymph nodes up to {mm}.",
        "lymphadenopathy is observed in the {station} station.",
    ),
    "Emphysema": (
        "{severity} emphysema is seen in the upper lobes.",
        "emphysematous changes are observed in both lungs.",
        "there is centrilobular emphysema, mainly in the upper lobes.",
        "emphysematous areas are present in the apices.",
    ),
    "Atelectasis": (
        "linear atelectasis is observed in {place}.",
        "there are atelectatic changes in {place}.",
        "plate-like atelectasis is present in {place}.",
        "subsegmental atelectasis is seen in {place}.",
    ),
    "Lung nodule": (
        "a nodule of {mm} is observed in {place}.",
        "there are solid nodules in {place}, the largest {mm}.",
        "pulmonary nodules are seen in {place}, measuring up to {mm}.",
        "a round solid nodule is present in {place}.",
    ),
    "Lung opacity": (
        "ground glass opacities are observed in {place}.",
        "there are patchy ground glass density increases in {place}.",
        "areas of ground-glass opacity are present in {place}.",
        "{severity} ground glass opacity is seen in {place}.",
    ),
    "Pulmonary fibrotic sequela": (
        "fibrotic sequela changes are observed in {place}.",
        "there are sequela fibrotic bands in {place}.",
        "pleuroparenchymal sequela fibrotic density increases are present in {place}.",
        "fibrotic recessions as sequela are seen in {place}.",
    ),
    "Pleural effusion": (
        "{side} pleural effusion is observed, {mm} at its thickest.",
        "there is pleural effusion on {sides}.",
        "{severity} pleural effusion is present on {sides}.",
        "pleural effusion measuring {mm} is seen on {sides}.",
    ),
    "Mosaic attenuation pattern": (
        "a mosaic attenuation pattern is observed in both lungs.",
        "mosaic attenuation is present in both lungs, in keeping with small airway disease.",
        "there is a {severity} mosaic attenuation pattern.",
    ),
    "Peribronchial thickening": (
        "peribronchial thickening is observed.",
        "there is diffuse peribronchial wall thickening.",
        "{severity} peribronchial thickening is seen in both central areas.",
        "bronchial wall thickening is present in both lungs, with a peribronchial pattern.",
    ),
    "Consolidation": (
        "consolidation is observed in {place}.",
        "there is a consolidation of {mm} in {place}.",
        "an area of consolidation is present in {place}.",
        "consolidated parenchyma is seen in {place}.",
    ),
    "Bronchiectasis": (
        "bronchiectasis is observed in {place}.",
        "there are bronchiectatic changes in {place}.",
        "cystic bronchiectasis is present in {place}.",
        "bronchiectatic enlargement of the bronchi is seen in {place}.",
    ),
    "Interlobular septal thickening": (
        "interlobular septal thickening is observed in both lower lungs.",
        "there is smooth thickening of the interlobular septa.",
        "{severity} interlobular septal thickening is present.",
        "thickened interlobular septa are seen at the lung bases.",
    ),
}

NORMAL: Templates = {
    "abdomen": (
        "the upper abdominal organs within the field of view are normal.",
        "liver and spleen have a normal appearance.",
        "no space-occupying lesion is seen in the visible part of the liver.",
        "the upper abdomen shows nothing remarkable.",
    ),
    "bone": (
        "no lytic or destructive lesion is seen in the bones.",
        "vertebral heights and alignment are preserved.",
        "the bony structures of the thorax are intact.",
        "no fracture line is observed in the ribs and the sternum.",
    ),
    "breast": (
        "both breasts have a normal appearance.",
        "breast tissue is symmetric.",
        "no mass is seen in either breast within the limits of CT.",
    ),
    "esophagus": (
        "the esophagus is of normal calibre.",
        "the course and calibre of the thoracic esophagus are normal.",
        "no wall change is seen in the esophagus.",
    ),
    "heart": (
        "heart size and contours are normal.",
        "the heart has a normal size and configuration.",
        "the cardiac chambers are of usual width.",
    ),
    "lung": (
        "both lungs are well aerated.",
        "lung parenchyma is normal on both sides.",
        "aeration of both lungs is normal.",
        "no active lesion is seen in either lung.",
    ),
    "mediastinum": (
        "the mediastinal main vascular structures have a normal calibre.",
        "the mediastinum is in the midline and unremarkable.",
        "calibre of the aorta and the pulmonary artery is normal.",
    ),
    "pleura": (
        "the pleural surfaces are smooth.",
        "both pleural spaces are free.",
        "the pleura is of normal thickness on both sides.",
    ),
    "thyroid": (
        "the thyroid gland is homogeneous and of normal size.",
        "both thyroid lobes have a normal appearance.",
        "no focal lesion is seen in the thyroid gland.",
    ),
    "trachea and bronchie": (
        "the trachea and both main bronchi are open.",
        "the lumen of the trachea and the main bronchi is free.",
        "the central airways are patent.",
    ),
}

# Region → finding → sentences that deny it; drawn only where the plan lacks it.
NEGATED: dict[str, Templates] = {
    "esophagus": {"Hiatal hernia": ("no hiatal hernia is seen.", "hiatal hernia was not detected.")},
    "heart": {
        "Pericardial effusion": ("pericardial effusion was not observed.", "there is no pericardial effusion."),
        "Cardiomegaly": ("there is no cardiomegaly.",),
        "Coronary artery wall calcification": ("no calcification is seen in the coronary arteries.",),
    },
    "lung": {
        "Lung nodule": ("no nodule is seen in either lung.", "a nodule was not detected in the lungs."),
        "Consolidation": ("there is no consolidation.", "consolidation was not observed."),
        "Emphysema": ("no emphysema is seen.",),
        "Atelectasis": ("atelectasis was not detected.",),
    },
    "mediastinum": {
        "Lymphadenopathy": (
            "no enlarged lymph nodes are seen in the mediastinum.",
            "lymphadenopathy was not detected in the mediastinum.",
        ),
        "Arterial wall calcification": ("no calcified plaque is observed in the aorta.",),
    },
    "pleura": {"Pleural effusion": ("pleural effusion was not detected.", "there is no pleural effusion on either side.")},
    "trachea and bronchie": {
        "Bronchiectasis": ("no bronchiectasis is seen.",),
        "Peribronchial thickening": ("peribronchial thickening was not observed.",),
    },
}
